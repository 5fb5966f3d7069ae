import type { WorkerEndRecord } from "../../../domain/job/records.js";
import { workerEndRecord } from "../../../formats/job-records/job-records.js";
import { JobObjects } from "../../../platform/job-store/job-store.js";
import type { ObjectStore } from "../../../platform/object-store/object-store.js";

/** How the pods of one job ended: a fact each, so that neither a pod that is deleted nor a new coordinator forgets a failure, and none is told twice. */
export class WorkerEnds {
  private readonly job: JobObjects;
  private known: Map<string, WorkerEndRecord> | undefined;

  constructor(store: ObjectStore, jobId: string) {
    this.job = new JobObjects(store, jobId);
  }

  /** "new" where nobody has recorded it before. */
  async record(podUid: string, end: WorkerEndRecord): Promise<"new" | "known"> {
    const known = await this.read();
    if (known.has(podUid)) return "known";
    const { outcome, value } = await this.job.createJson(`workers/${podUid}.json`, end, workerEndRecord);
    known.set(podUid, value);
    return outcome === "created" ? "new" : "known";
  }

  /** Those that failed, in the order in which they did. */
  async failures(): Promise<readonly WorkerEndRecord[]> {
    const ends = [...(await this.read()).values()];
    return ends.filter(({ end }) => end === "failed" || end === "outOfMemory").sort((a, b) => a.timeMs - b.timeMs);
  }

  private async read(): Promise<Map<string, WorkerEndRecord>> {
    if (this.known !== undefined) return this.known;
    const known = new Map<string, WorkerEndRecord>();
    for (const name of await this.job.namedFacts("workers")) {
      const end = await this.job.readJson(`workers/${name}.json`, workerEndRecord);
      if (end !== undefined) known.set(name, end);
    }
    return (this.known ??= known);
  }
}
