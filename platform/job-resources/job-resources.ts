import type { JobResourceStatus } from "../../domain/job/resource.js";
import type { JobSpec } from "../../domain/job/spec.js";
import type { GraftJobObject } from "../../formats/kubernetes/objects.js";

/** The GraftJobs of a cluster: the records of its jobs, which people write with kubectl and graft with SubmitJob. */
export interface JobResources {
  /** Every GraftJob, then each change of one, until the signal. Resolves once those that there are have been handed over. */
  follow(follower: JobFollower, signal: AbortSignal): Promise<void>;
  /** @throws CodedError CLUSTER_CONFLICT where there is one of that name; CLUSTER_REFUSED where its spec is not valid */
  create(job: NewGraftJob): Promise<GraftJobObject>;
  /** Undefined where there is none (any more). */
  read(name: JobName): Promise<GraftJobObject | undefined>;
  /** Replaces the status of the job with this uid; undefined where that one is gone. Another writer in between makes it try again on what stands then. */
  writeStatus(job: GraftJobObject, status: (stands: GraftJobObject) => JobResourceStatus): Promise<GraftJobObject | undefined>;
  setSuspend(name: JobName, suspend: boolean): Promise<GraftJobObject>;
  /** Keeps a job that is deleted until `release`: its workers and objects go first. */
  hold(job: GraftJobObject): Promise<void>;
  release(job: GraftJobObject): Promise<void>;
  delete(name: JobName): Promise<void>;
  /** An event that `kubectl describe` shows; the same one twice is one. */
  tell(job: GraftJobObject, event: JobNotice): Promise<void>;
}

export interface JobFollower {
  readonly changed: (job: GraftJobObject) => void;
  readonly gone: (job: GraftJobObject) => void;
  /** The connection broke; it is made anew. */
  readonly onLost: (error: unknown) => void;
}

export interface JobName {
  readonly namespace: string;
  readonly name: string;
}

export interface NewGraftJob {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: JobSpec;
}

export interface JobNotice {
  readonly type: "Normal" | "Warning";
  /** CamelCase word for programs. */
  readonly reason: string;
  readonly message: string;
}
