import type { JobSpec } from "./spec.js";

/** A job as a resource: proto's JSON mapping of `GraftJob` (proto/graft/v1/job.proto), which is also what kubectl shows. Enums are their names, times ISO 8601. */
export interface JobResource {
  readonly apiVersion: "graft.dev/v1alpha1";
  readonly kind: "GraftJob";
  readonly metadata: JobMetadata;
  readonly spec: JobSpec;
  readonly status: JobResourceStatus;
}

export interface JobMetadata {
  readonly name?: string;
  readonly namespace?: string;
  /** The job id. */
  readonly uid?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Grows by one with each change of the spec. */
  readonly generation?: number;
  /** Opaque; grows with each change that a watcher sees. */
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
}

export type ResourcePhase =
  "PENDING" | "SCANNING" | "PLANNING" | "EXTRACTING" | "TRAINING" | "EVALUATING" | "EXPORTING" | "COMPLETE" | "FAILED" | "CANCELLED";

export interface JobResourceStatus {
  readonly phase: ResourcePhase;
  readonly suspended: boolean;
  readonly observedGeneration?: number;
  readonly conditions?: readonly JobCondition[];
  readonly progress?: JobProgress;
  readonly evaluation?: JobEvaluation;
  readonly failure?: { readonly code: string; readonly message: string };
  readonly result?: JobResultSummary;
  readonly startTime?: string;
  readonly completionTime?: string;
}

/** As in Kubernetes. */
export interface JobCondition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime?: string;
}

/** What keeps a job that has not ended, and was not suspended, from getting on: its condition Progressing where that is False. */
export function hindranceOf({ status }: JobResource): JobCondition | undefined {
  if (status.suspended || ["COMPLETE", "FAILED", "CANCELLED"].includes(status.phase)) return undefined;
  return status.conditions?.find((condition) => condition.type === "Progressing" && condition.status === "False");
}

export interface JobProgress {
  readonly pictures?: number;
  /** Pictures whose features are known, cached ones included. */
  readonly extracted?: number;
  readonly cached?: number;
  readonly rejected?: number;
  readonly imagesPerSecond?: number;
  readonly step?: number;
  readonly steps?: number;
  readonly millisecondsPerStep?: number;
  /** To the end of this phase. */
  readonly secondsLeft?: number;
  readonly trainers?: number;
  /** Why so many. */
  readonly trainersReason?: string;
  readonly generation?: number;
  readonly tasks?: number;
  readonly tasksCommitted?: number;
  /** Extractors at work. */
  readonly extractors?: number;
  readonly checkpointStep?: number;
  /** What of this phase is done, for people. */
  readonly summary?: string;
  /** To the end of this phase, for people. */
  readonly eta?: string;
}

export interface JobEvaluation {
  readonly step: number;
  readonly epoch: number;
  readonly trainLoss?: number;
  readonly trainAccuracy?: number;
  readonly validationLoss?: number;
  readonly validationAccuracy?: number;
  readonly validationCount?: number;
}

export interface JobResultSummary {
  /** Prefix with model, report and passport. */
  readonly location: string;
  readonly weightsSha256: string;
  readonly testAccuracy?: number;
  readonly testCount?: number;
}
