import type { V1Job, V1PodTemplateSpec, WorkerRole } from "../../formats/kubernetes/objects.js";
import type { PodReport } from "../../formats/kubernetes/pod-report.js";

/** Where the workers of jobs run: Kubernetes. It schedules, starts again and ends pods; graft says how many there shall be, and reads pods only to explain failures. */
export interface Cluster {
  /**
   * The batch Jobs that graft made in a namespace and their pods, then each change, until the signal. Resolves once those that there are have been handed over, which in a namespace that nobody has prepared for
   * graft is refused until somebody does: `onLost` hears why.
   */
  follow(namespace: string, follower: WorkerFollower, signal: AbortSignal): Promise<void>;
  /** What the workers of a role are made from in a namespace; undefined where nobody has prepared it for graft. */
  template(namespace: string, role: WorkerRole): Promise<V1PodTemplateSpec | undefined>;
  /** @throws CodedError CLUSTER_CONFLICT where there is one of that name; CLUSTER_REFUSED, for example where a quota is used up */
  createWorkers(job: V1Job): Promise<void>;
  /** How many pods a batch Job shall have, and whether it stands still. */
  scaleWorkers(job: V1Job, count: number, suspended: boolean): Promise<void>;
  /** Deletes a batch Job and its pods; not there any more: nothing happens. */
  deleteWorkers(job: V1Job): Promise<void>;
  /** The keys and values of a Secret with the keys to a dataset; undefined where there is no such Secret. @throws CodedError CLUSTER_REFUSED where it is one of another type */
  datasetCredentials(namespace: string, secret: string): Promise<ReadonlyMap<string, string> | undefined>;
}

export interface WorkerFollower {
  readonly jobChanged: (job: V1Job) => void;
  readonly jobGone: (job: V1Job) => void;
  /** `isGone`: its pod was deleted; the report says how it ended. */
  readonly podChanged: (report: PodReport, isGone: boolean) => void;
  /** The connection broke; it is made anew. */
  readonly onLost: (error: unknown) => void;
}
