import type { Clock } from "../../../platform/clock/clock.js";
import { Bell } from "../bell.js";

/** Keys that are worked on, some at a time and each by one at a time: who is asked for again meanwhile has its turn afterwards. */
export class WorkQueue {
  private readonly clock: Clock;
  private readonly atOnce: number;
  private readonly work: (key: string) => Promise<void>;
  /** When a key is due, on the monotonic clock. */
  private readonly due = new Map<string, number>();
  private readonly busy = new Set<string>();
  private readonly bell = new Bell();

  /** `work` never rejects. */
  constructor(clock: Clock, atOnce: number, work: (key: string) => Promise<void>) {
    this.clock = clock;
    this.atOnce = atOnce;
    this.work = work;
  }

  /** Asks for a key, at the latest in `afterMs`. */
  add(key: string, afterMs = 0): void {
    const atMs = this.clock.monotonic() + afterMs;
    const before = this.due.get(key);
    if (before !== undefined && before <= atMs) return;
    this.due.set(key, atMs);
    this.bell.ring();
  }

  /** Works until the signal; resolves when nothing is under way any more. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const nowMs = this.clock.monotonic();
      let nextMs = Infinity;
      for (const [key, dueMs] of this.due) {
        if (this.busy.has(key) || this.busy.size >= this.atOnce) continue; // the bell rings when one is done
        if (dueMs > nowMs) {
          nextMs = Math.min(nextMs, dueMs);
          continue;
        }
        this.due.delete(key);
        this.busy.add(key);
        void this.work(key).finally(() => {
          this.busy.delete(key);
          this.bell.ring();
        });
      }
      await this.bell.next(this.clock, nextMs === Infinity ? undefined : nextMs - nowMs, signal);
    }
    while (this.busy.size > 0) await this.bell.next(this.clock, undefined);
  }
}
