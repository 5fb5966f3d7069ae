import type { JobState } from "../../domain/job/transitions.js";
import type { JobStore } from "../../platform/job-store/job-store.js";

/** `status.json`: where a job is, why, and what is missing. A projection of its facts; losing it loses nothing. */
export interface JobStatus extends JobState {
  readonly formatVersion: 1;
  readonly pictures?: number;
  /** Tasks of the listing and of repairs, and how many of them have a commit. */
  readonly tasks?: number;
  readonly tasksCommitted?: number;
  /** Pictures whose features were damaged and are extracted again. */
  readonly picturesLost?: number;
  readonly trainers?: number;
  readonly generation?: number;
  /** The step that a restart goes on from; 0 before the first checkpoint and once the result stands. */
  readonly checkpointStep?: number;
  /** Why the job stands still, or has failed; null while all is well. */
  readonly failure: { readonly code: string; readonly message: string } | null;
}

/** Keeps the status of one job and writes it whenever it changes, one write after another, so that an old one never overwrites a newer one. */
export class StatusBoard {
  private readonly jobs: JobStore;
  private readonly jobId: string;
  private status: JobStatus = { formatVersion: 1, phase: "Pending", suspended: false, failure: null };
  private written: JobStatus | undefined;
  private writing: Promise<void> = Promise.resolve();

  constructor(jobs: JobStore, jobId: string) {
    this.jobs = jobs;
    this.jobId = jobId;
  }

  get state(): JobState {
    const { phase, suspended } = this.status;
    return { phase, suspended };
  }

  /** Resolves when this change, or a later one, is written. */
  async update(change: Partial<JobStatus>): Promise<void> {
    this.status = { ...this.status, ...change };
    const write = this.writing.then(async () => {
      const { status } = this;
      if (status === this.written) return;
      await this.jobs.writeStatus(this.jobId, status);
      this.written = status;
    });
    this.writing = write.catch(() => undefined);
    return write;
  }
}
