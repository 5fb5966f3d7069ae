import type { JobState } from "../../domain/job/transitions.js";
import { type JobStatus, pendingStatus } from "../../domain/job/status.js";
import type { JobStore } from "../../platform/job-store/job-store.js";

/** Keeps the status of one job and writes it whenever it changes, one write after another, so that an old one never overwrites a newer one. */
export class StatusBoard {
  private readonly jobs: JobStore;
  private readonly jobId: string;
  private readonly onChange: () => void;
  private status: JobStatus;
  private written: JobStatus | undefined;
  private writing: Promise<void> = Promise.resolve();
  /** Begins after `writing`. */
  private next: Promise<void> | undefined;

  constructor(jobs: JobStore, jobId: string, onChange: () => void = () => undefined, status: JobStatus = pendingStatus) {
    this.jobs = jobs;
    this.jobId = jobId;
    this.onChange = onChange;
    this.status = status;
  }

  /** A coordinator takes up the job anew: it goes through the phases again, each of which finds what is done. */
  restart(): void {
    this.status = { ...this.status, phase: "Pending", suspended: false, failure: null };
  }

  get current(): JobStatus {
    return this.status;
  }

  get state(): JobState {
    const { phase, suspended } = this.status;
    return { phase, suspended };
  }

  /** Takes in what changes many times a second: watchers see it at once, the store with the next `update`. */
  note(change: Partial<JobStatus>): void {
    this.status = { ...this.status, ...change };
    this.onChange();
  }

  /** Resolves when this change, or a later one, is written. Who comes while one write is under way shares the next one. */
  async update(change: Partial<JobStatus>): Promise<void> {
    this.note(change);
    this.next ??= this.writing.then(async () => {
      this.next = undefined;
      const { status } = this;
      if (status === this.written) return;
      await this.jobs.writeStatus(this.jobId, status);
      this.written = status;
    });
    const write = this.next;
    this.writing = write.catch(() => undefined);
    return write;
  }
}
