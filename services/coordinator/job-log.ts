import { jobEventRecord } from "../../formats/job-records/job-records.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { RecordedEvent } from "../../platform/job-service/job-service.js";

/** What happened to a job: `log/<n>.json`, appended by create-if-absent, so that a coordinator that was started anew goes on with it. Rare things only; progress is in the status. */
export class JobLog {
  private readonly job: JobObjects;
  private readonly clock: Clock;
  private readonly onFailure: (error: unknown) => void;
  private next = 0;
  /** One append after another, so that the order of the log is that of the events. */
  private appending: Promise<void> = Promise.resolve();

  constructor(job: JobObjects, clock: Clock, onFailure: (error: unknown) => void) {
    this.job = job;
    this.clock = clock;
    this.onFailure = onFailure;
  }

  /** Never fails its caller: the log tells, it decides nothing. */
  append(kind: string, message: string): void {
    const event = { formatVersion: 1 as const, timeMs: this.clock.now(), kind, message };
    this.appending = this.appending.then(() => this.write(event)).catch(this.onFailure);
  }

  /** Events from number `from` on, at most `count`. */
  async read(from: number, count: number): Promise<{ readonly events: readonly RecordedEvent[]; readonly next: number }> {
    const events: RecordedEvent[] = [];
    let next = from;
    while (events.length < count) {
      const event = await this.job.readJson(`log/${String(next)}.json`, jobEventRecord);
      if (event === undefined) break;
      events.push({ timeMs: event.timeMs, kind: event.kind, message: event.message });
      next++;
    }
    return { events, next };
  }

  /** Resolves when everything appended so far is written. */
  flush(): Promise<void> {
    return this.appending;
  }

  private async write(event: RecordedEvent & { readonly formatVersion: 1 }): Promise<void> {
    for (;;) {
      const { outcome } = await this.job.createJson(`log/${String(this.next++)}.json`, event, jobEventRecord);
      if (outcome === "created") return;
    }
  }
}
