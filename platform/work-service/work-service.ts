import type { ErrorCode } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { CommittedShard, TaskCommit } from "../../domain/job/records.js";
import type { HistoryPoint } from "../../domain/training/history.js";

/**
 * What workers ask of the coordinator (proto/graft/v1/work_service.proto). In one process it is the coordinator itself, in a cluster a gRPC client.
 * Every call may be repeated: a task done twice or a report sent twice does no harm.
 */
export interface WorkService {
  /**
   * Resolves once there is a task for this worker ("task"), none will come any more ("done"), or after a while with neither ("ask again"). `jobId` undefined: a task of any job.
   * @throws CodedError NUMERICS_PROFILE_MISMATCH where the worker has another profile than the job
   */
  claimTask(worker: string, profile: NumericsProfile, jobId?: string): Promise<TaskClaim>;
  /** Renews the lease and reports progress; a lease that the coordinator has forgotten is made anew. "lost": another worker has or had the task, or the job stands still; stop, and lose nothing. */
  heartbeatTask(task: LeasedTask, progress: TaskProgress): Promise<"kept" | "lost">;
  /** Which features of one view exist: one byte, 0 or 1, for each of `imageIds` (`[n, 32]`, at most limits.lookupImageIds). */
  lookupFeatures(task: LeasedTask, imageIds: Uint8Array, view: number): Promise<Uint8Array>;
  /** The first commit of a task wins, whoever holds the lease. */
  commitTask(task: LeasedTask, commit: TaskCommit): Promise<"committed" | "already committed">;
  /** Shards of a commit or a release to come, where those are too many for one message. Nothing happens where the job takes none now. */
  appendShards(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void>;
  /** Hands a task back; `shards` hold what was extracted so far, so that nobody does it again. */
  releaseTask(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void>;

  /**
   * Resolves with the membership that this trainer belongs to once it is complete, "done" when the job needs no trainer any more, or "ask again" after a while with neither.
   * `step`: steps behind the state that this trainer holds already; undefined where it has none.
   */
  joinTraining(
    trainer: string,
    profile: NumericsProfile,
    jobId: string | undefined,
    step: number | undefined,
    gone?: AbortSignal,
  ): Promise<Joined>;
  /** Features that the cache promised and that turned out to be missing or corrupt. The job goes back to extract them; every trainer of the generation may report, and then joins again. */
  reportMissingFeatures(member: Member, imageIds: readonly ImageId[]): Promise<void>;
  /** Progress and sign of life. Resolves with the generation that stands: a newer one than the member's means that it must join again. */
  reportStep(member: Member, report: StepReport): Promise<number>;
  /** Nothing came from these trainers before the deadline; the coordinator opens the next generation. Resolves as `reportStep`. */
  reportStall(member: Member, step: number, missing: readonly string[]): Promise<number>;
  reportEvaluation(member: Member, evaluation: ReportedEvaluation): Promise<void>;
  /** The state after `step` stands under `jobs/<id>/checkpoints/<step>/`. @throws CodedError GENERATION_STALE */
  commitCheckpoint(member: Member, step: number): Promise<void>;
  /** Phases after the last step; they show in the job's status. @throws CodedError GENERATION_STALE */
  reportPhase(member: Member, phase: "Evaluating" | "Exporting"): Promise<void>;
  /** The result is whole under `jobs/<id>/result/`. @throws CodedError GENERATION_STALE */
  commitResult(member: Member): Promise<void>;
  /** What made a worker stop. A failure that no repetition cures fails the job. */
  reportFailure(failure: WorkerFailure): Promise<void>;
}

/** `leaseMs`: the lease ends so long after the last heartbeat; renew it at a third. */
export type TaskClaim =
  ({ readonly kind: "task"; readonly leaseMs: number } & LeasedTask) | { readonly kind: "done" } | { readonly kind: "ask again" };

/** A task as one worker holds it. */
export interface LeasedTask {
  readonly jobId: string;
  readonly task: number;
  readonly lease: string;
  readonly worker: string;
}

export interface TaskProgress {
  readonly extracted: number;
  readonly cached: number;
  readonly rejected: number;
}

export type Joined = ({ readonly kind: "generation" } & Generation) | { readonly kind: "done" } | { readonly kind: "ask again" };

/** One membership of a job's trainers; grows by one whenever someone joins or leaves. */
export interface Generation {
  readonly jobId: string;
  readonly generation: number;
  /** In the order of their ranks. */
  readonly trainers: readonly string[];
  /** The state that everyone starts from is that after so many steps; 0 is the initial state. */
  readonly startStep: number;
  /** The trainer that holds that state and writes it as a checkpoint before it goes on; undefined where nobody lacks it or the checkpoint stands. */
  readonly stateWriter: string | undefined;
  /** Secret of this generation; tags the messages between its trainers. */
  readonly key: Uint8Array;
}

/** A trainer in one generation. */
export interface Member {
  readonly jobId: string;
  readonly trainer: string;
  readonly generation: number;
}

export interface StepReport {
  readonly step: number;
  readonly steps: number;
  /** Null until it is known. */
  readonly millisecondsPerStep: number | null;
  /** Grains that this trainer has computed since it joined. */
  readonly grainsComputed: number;
}

/** What of an evaluation shows in a job's status; the rest stays with the trainer, in checkpoint and result. */
export type ReportedEvaluation = Pick<HistoryPoint, "step" | "epoch" | "train" | "validation" | "seconds">;

export interface WorkerFailure {
  readonly worker: string;
  readonly jobId: string;
  readonly code: ErrorCode | "INTERNAL";
  readonly message: string;
  /** The lease of the task that failed; undefined for a trainer. */
  readonly lease: string | undefined;
}
