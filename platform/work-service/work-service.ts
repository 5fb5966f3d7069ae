import type { ImageId } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { CommittedShard, TaskCommit } from "../../domain/job/records.js";
import type { HistoryPoint } from "../../domain/training/history.js";

/**
 * What workers ask of the coordinator (proto/graft/v1/work_service.proto). In one process it is the coordinator itself, in a cluster a gRPC client.
 * Every call may be repeated: a task done twice or a report sent twice does no harm.
 */
export interface WorkService {
  /** Resolves once there is a task for this worker, or none will come any more. A worker with another profile than the job's is refused with NUMERICS_PROFILE_MISMATCH. */
  claimTask(worker: string, profile: NumericsProfile): Promise<TaskClaim>;
  /** Renews the lease and reports progress. "lost": another worker has or had the task; stop, and lose nothing. */
  heartbeatTask(lease: string, progress: TaskProgress): Promise<"kept" | "lost">;
  /** The first commit of a task wins, whoever holds the lease. */
  commitTask(lease: string, commit: TaskCommit): Promise<"committed" | "already committed">;
  /** Hands a task back; `shards` hold what was extracted so far, so that nobody does it again. */
  releaseTask(lease: string, shards: readonly CommittedShard[]): Promise<void>;
  /** Resolves with the membership that this trainer belongs to once it is complete, or "done" when the job needs no trainer any more. */
  joinTraining(trainer: string, profile: NumericsProfile): Promise<Generation | "done">;
  /** Features that the cache promised and that turned out to be missing or corrupt. The job goes back to extract them; every trainer of the generation may report, and then joins again. */
  reportMissingFeatures(trainer: string, generation: number, imageIds: readonly ImageId[]): Promise<void>;
  reportStep(trainer: string, report: StepReport): Promise<void>;
  reportEvaluation(trainer: string, evaluation: HistoryPoint): Promise<void>;
  /** The state that every later generation may start from stands under `jobs/<id>/checkpoints/<step>/`. */
  commitCheckpoint(trainer: string, step: number): Promise<void>;
  /** Phases after the last step; they show in the job's status. */
  reportPhase(trainer: string, phase: "Evaluating" | "Exporting"): Promise<void>;
  /** The result is whole under `jobs/<id>/result/`. */
  commitResult(trainer: string): Promise<void>;
}

export type TaskClaim =
  { readonly kind: "task"; readonly jobId: string; readonly task: number; readonly lease: string } | { readonly kind: "done" };

export interface TaskProgress {
  readonly extracted: number;
  readonly cached: number;
  readonly rejected: number;
}

/** One membership of a job's trainers; grows by one whenever someone joins or leaves. */
export interface Generation {
  readonly jobId: string;
  readonly generation: number;
  /** In the order of their ranks. */
  readonly trainers: readonly string[];
  /** The checkpoint that everyone starts from; 0 is the initial state. */
  readonly startStep: number;
  /** Secret of this generation; tags the messages between its trainers. */
  readonly key: Uint8Array;
}

export interface StepReport {
  readonly step: number;
  readonly steps: number;
  /** Null until it is known. */
  readonly millisecondsPerStep: number | null;
  /** Grains that this trainer has computed since it joined. */
  readonly grainsComputed: number;
}
