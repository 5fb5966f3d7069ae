import type { JobMetadata, JobResource, JobResultSummary, ResourcePhase } from "../../domain/job/resource.js";
import type { JobSpec } from "../../domain/job/spec.js";

/** Jobs, for people and programs (proto/graft/v1/job_service.proto). In a cluster's command line it is a gRPC client, in the coordinator the jobs themselves. */
export interface JobService {
  /** Accepts a job. The same request id gives the same job. @throws CodedError SPEC_INVALID with every problem; REQUEST_INVALID; JOB_EXISTS where another unfinished job has the name */
  submitJob(requestId: string, job: JobRequest): Promise<JobResource>;
  /** What a job would do and cost; starts and stores nothing. */
  planJob(job: JobRequest, read: boolean): Promise<{ readonly text: string; readonly json: string }>;
  /** @throws CodedError JOB_NOT_FOUND, as all that follow */
  getJob(job: JobReference): Promise<JobResource>;
  /** Newest first. */
  listJobs(page: ListJobs): Promise<{ readonly jobs: readonly JobResource[]; readonly nextPageToken: string }>;
  /** The current state first (unless it is `resourceVersion`), then each change; intermediate states may be skipped. Ends after the job's end. */
  watchJob(job: JobReference, resourceVersion: string | undefined, signal: AbortSignal): AsyncIterable<JobResource>;
  suspendJob(job: JobReference): Promise<JobResource>;
  resumeJob(job: JobReference): Promise<JobResource>;
  cancelJob(job: JobReference): Promise<JobResource>;
  /** @throws CodedError JOB_NOT_COMPLETE */
  getResult(job: JobReference): Promise<JobResult>;
  /** The bytes of one file of a result from `offset` on, in order; for files without a url. @throws CodedError JOB_NOT_COMPLETE; REQUEST_INVALID where the result has no such file */
  readResultFile(job: JobReference, path: string, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Why a job is where it is, outermost reason first. */
  explainJob(job: JobReference): Promise<readonly Reason[]>;
  /** What happened to a job, oldest first. */
  listJobEvents(job: JobReference, page: Page): Promise<{ readonly events: readonly RecordedEvent[]; readonly nextPageToken: string }>;
}

export interface JobRequest {
  readonly metadata: JobMetadata;
  readonly spec: JobSpec;
}

export interface JobReference {
  readonly namespace?: string;
  /** Name or uid. Of several jobs with one name the newest is meant. */
  readonly name: string;
}

export interface Page {
  /** 1 to 1,000; default 100. */
  readonly pageSize?: number;
  readonly pageToken?: string;
}

export interface ListJobs extends Page {
  readonly namespace?: string;
  /** Only jobs in one of these; empty or absent for all. */
  readonly phases?: readonly ResourcePhase[];
}

export interface JobResult {
  readonly summary: JobResultSummary;
  readonly metricsJson: string;
  readonly files: readonly ResultFile[];
}

export interface ResultFile {
  /** Relative to the result, with "/". */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Where it can be read for a while, without credentials; undefined where the store has no such thing: readResultFile reads it then. */
  readonly url: string | undefined;
}

export interface Reason {
  readonly subject: string;
  readonly message: string;
  readonly depth: number;
}

export interface RecordedEvent {
  readonly timeMs: number;
  readonly kind: string;
  readonly message: string;
}
