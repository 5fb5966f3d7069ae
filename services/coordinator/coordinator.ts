import { CodedError, endsJob, isWorkersOwn } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { Workers } from "../../domain/job/job.js";
import type { CommittedShard, TaskCommit } from "../../domain/job/records.js";
import type { JobStatus } from "../../domain/job/status.js";
import { limits } from "../../domain/limits.js";
import type { HistoryPoint } from "../../domain/training/history.js";
import { jobRecord } from "../../formats/job-records/job-records.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import type {
  Joined,
  LeasedTask,
  Member,
  StepReport,
  TaskClaim,
  TaskProgress,
  WorkerFailure,
  WorkService,
} from "../../platform/work-service/work-service.js";
import type { CoordinatorDeps } from "./coordinator-deps.js";
import type { Extraction } from "./extraction.js";
import { ExtractionPhase } from "./extraction-phase.js";
import { JobProgress } from "./job-progress.js";
import type { Membership } from "./membership.js";
import { PreparationPhase } from "./preparation-phase.js";
import { resultSummary } from "./result-summary.js";
import { StatusBoard } from "./status.js";
import { TrainingPhase } from "./training-phase.js";

/**
 * One job from its record to its result. Its phases leave facts in the store, each written once; where the job stands is read off them, so a coordinator that is started
 * anew goes on where the last one was. Workers talk to it through `WorkService`: what extractors ask is answered by `ExtractionPhase`, what trainers ask by `TrainingPhase`.
 */
export class JobCoordinator implements WorkService {
  private readonly deps: CoordinatorDeps;
  private readonly job: JobObjects;
  private readonly status: StatusBoard;
  private readonly progress: JobProgress;
  private readonly preparation: PreparationPhase;
  private readonly extraction: ExtractionPhase;
  private readonly training: TrainingPhase;
  private readonly failure = new AbortController();
  /** Failures of workers that a repetition may cure. */
  private failures = 0;
  private hasGivenUp = false;

  constructor(jobId: string, deps: CoordinatorDeps) {
    this.deps = deps;
    this.job = new JobObjects(deps.store, jobId);
    this.status = deps.status ?? new StatusBoard(deps.jobs, jobId);
    this.progress = new JobProgress(jobId, deps, this.status);
    this.preparation = new PreparationPhase(this.job, deps, this.progress);
    this.extraction = new ExtractionPhase(this.job, deps, this.progress);
    this.training = new TrainingPhase(this.job, deps, this.progress);
  }

  /** Where the job is, for watchers. */
  get current(): JobStatus {
    return this.status.current;
  }

  /** The last report of each trainer. */
  get steps(): ReadonlyMap<string, StepReport> {
    return this.training.steps;
  }

  /** What extracts and who trains now, for people who ask why. */
  get work(): { readonly extraction: Extraction | undefined; readonly membership: Membership | undefined } {
    return { extraction: this.extraction.current, membership: this.training.current };
  }

  /** Other bounds for the number of trainers, from now on. */
  resize(trainers: Workers): void {
    this.training.resize(trainers);
  }

  /**
   * Runs the job to its end; rejects with what made it fail, or with the signal's reason: INTERRUPTED leaves the job as it is, the failure of a worker that nobody replaces is the job's.
   * Safe to repeat, and safe to lose at any await.
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.failure.signal]);
    try {
      const record = await this.job.readJson("spec.json", jobRecord);
      if (record === undefined)
        throw new CodedError(
          "OBJECT_MISSING",
          `${this.job.keyOf("spec.json")} is not in ${this.deps.store.location}; submit the job first`,
        );

      // 1. What is there, and how is it computed?
      await this.progress.move("started", { startedMs: this.status.current.startedMs ?? this.deps.clock.now() });
      const listing = await this.preparation.scan(record, stop);
      await this.progress.move("listed");
      const plan = await this.preparation.plan(record, listing, stop);
      await this.progress.move("planned");

      // 2. Features, then training on them. Features that turn out to be damaged lead back here.
      for (let round = 0; ; round++) {
        const samples = await this.extraction.extract(record, listing, plan, stop);
        await this.progress.move("extracted");
        const end = await this.training.train(record, plan, samples, stop);
        if (end.kind === "exported") break;
        await this.extraction.repair(listing, plan, end.missing, round);
        await this.progress.move("featuresMissing");
      }

      // 3. The result stands; what only a restart would need goes.
      if (this.status.state.phase === "Training") await this.progress.move("trained");
      if (this.status.state.phase === "Evaluating") await this.progress.move("evaluated");
      for (const step of await this.job.checkpointSteps()) await this.job.deleteCheckpoint(step);
      await this.progress.move("exported", {
        checkpointStep: 0,
        endedMs: this.deps.clock.now(),
        result: await resultSummary(this.job, this.deps.store.location),
      });
    } catch (error) {
      await this.progress.fail(error, this.hasGivenUp);
      throw error;
    } finally {
      this.extraction.close();
      this.training.dismissTrainers();
    }
  }

  // ---- WorkService ----

  async reportFailure({ worker, code, message, lease }: WorkerFailure): Promise<void> {
    this.deps.log?.append("failure", `${worker}: ${message} [${code}]`);
    if (lease !== undefined) await this.extraction.current?.release(lease, []);
    if (code !== "INTERNAL" && isWorkersOwn(code)) return this.progress.warn(`${worker}: ${message}`);
    if (code === "INTERNAL" || !endsJob(code)) {
      if (++this.failures <= (this.deps.workerFailuresMax ?? limits.workerFailuresMax)) return this.progress.warn(`${worker}: ${message}`);
      this.hasGivenUp = true;
    }
    this.failure.abort(code === "INTERNAL" ? new Error(`${worker}: ${message}`) : new CodedError(code, message));
  }

  claimTask(worker: string, profile: NumericsProfile): Promise<TaskClaim> {
    return this.extraction.claimTask(worker, profile);
  }

  /** A task, if there is one for this worker right now. @throws CodedError NUMERICS_PROFILE_MISMATCH */
  tryClaim(worker: string, profile: NumericsProfile): TaskClaim | undefined {
    return this.extraction.tryClaim(worker, profile);
  }

  heartbeatTask(task: LeasedTask, progress: TaskProgress): Promise<"kept" | "lost"> {
    return this.extraction.heartbeatTask(task, progress);
  }

  lookupFeatures(task: LeasedTask, imageIds: Uint8Array, view: number): Promise<Uint8Array> {
    return this.extraction.lookupFeatures(task, imageIds, view);
  }

  commitTask(task: LeasedTask, commit: TaskCommit): Promise<"committed" | "already committed"> {
    return this.extraction.commitTask(task, commit);
  }

  appendShards(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    return this.extraction.appendShards(task, shards);
  }

  releaseTask(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    return this.extraction.releaseTask(task, shards);
  }

  /** The first pictures that turned out to be none. */
  rejectedPictures(count: number): Promise<{ readonly uri: string; readonly reason: string }[]> {
    return this.extraction.rejectedPictures(count);
  }

  joinTraining(
    trainer: string,
    profile: NumericsProfile,
    _jobId: string | undefined,
    step: number | undefined,
    gone?: AbortSignal,
  ): Promise<Joined> {
    return this.training.joinTraining(trainer, profile, step, gone);
  }

  reportMissingFeatures(member: Member, imageIds: readonly ImageId[]): Promise<void> {
    return this.training.reportMissingFeatures(member, imageIds);
  }

  reportStep(member: Member, report: StepReport): Promise<number> {
    return this.training.reportStep(member, report);
  }

  reportStall(member: Member, step: number, missing: readonly string[]): Promise<number> {
    return this.training.reportStall(member, step, missing);
  }

  reportEvaluation(member: Member, evaluation: HistoryPoint): Promise<void> {
    return this.training.reportEvaluation(member, evaluation);
  }

  commitCheckpoint(member: Member, step: number): Promise<void> {
    return this.training.commitCheckpoint(member, step);
  }

  reportPhase(member: Member, phase: "Evaluating" | "Exporting"): Promise<void> {
    return this.training.reportPhase(member, phase);
  }

  commitResult(member: Member): Promise<void> {
    return this.training.commitResult(member);
  }
}
