import { CodedError } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { CommittedShard, TaskCommit } from "../../domain/job/records.js";
import { isFinal } from "../../domain/job/transitions.js";
import { limits } from "../../domain/limits.js";
import type { HistoryPoint } from "../../domain/training/history.js";
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
import type { JobCoordinator } from "./coordinator.js";
import type { Jobs, KnownJob } from "./jobs.js";
import type { WorkerProfiles } from "./worker-profiles.js";

/**
 * What workers ask, handed to the job that it is about. Workers of no particular job form a pool: extractors take tasks of all jobs in turn, trainers go to the oldest job that needs one.
 * A worker is never told why it waits; `graft explain` tells people.
 */
export class WorkRouter implements WorkService {
  private readonly jobs: Jobs;
  /** Where the next claim of the pool begins to look. */
  private turn = 0;

  constructor(jobs: Jobs) {
    this.jobs = jobs;
  }

  async claimTask(worker: string, profile: NumericsProfile, jobId?: string): Promise<TaskClaim> {
    const { clock } = this.jobs.deps;
    this.profilesOf(jobId).add("extraction", profile);
    const untilMs = clock.monotonic() + limits.longPollMs;
    for (;;) {
      const own = jobId === undefined ? undefined : this.find(jobId);
      if (own !== undefined && isFinal(own.board.state.phase)) return { kind: "done" };
      const claimed = own === undefined ? this.claimOfPool(worker, profile) : own.coordinator?.tryClaim(worker, profile);
      if (claimed !== undefined) return claimed;
      const leftMs = untilMs - clock.monotonic();
      if (leftMs <= 0 || this.jobs.signal.aborted) return { kind: "ask again" };
      await this.jobs.workBell.next(clock, Math.min(leftMs, this.nextOfferMs() ?? leftMs), this.jobs.signal);
    }
  }

  async heartbeatTask(task: LeasedTask, progress: TaskProgress): Promise<"kept" | "lost"> {
    const job = this.find(task.jobId);
    if (job.coordinator !== undefined) return job.coordinator.heartbeatTask(task, progress);
    // Between two tries of a job its workers go on.
    return job.pause?.kind === "suspended" || isFinal(job.board.state.phase) ? "lost" : "kept";
  }

  async lookupFeatures(task: LeasedTask, imageIds: Uint8Array, view: number): Promise<Uint8Array> {
    return this.ofTask(task).lookupFeatures(task, imageIds, view);
  }

  async commitTask(task: LeasedTask, commit: TaskCommit): Promise<"committed" | "already committed"> {
    return this.ofTask(task).commitTask(task, commit);
  }

  async appendShards(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    await this.find(task.jobId).coordinator?.appendShards(task, shards);
  }

  async releaseTask(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    await this.find(task.jobId).coordinator?.releaseTask(task, shards);
  }

  async joinTraining(
    trainer: string,
    profile: NumericsProfile,
    jobId: string | undefined,
    step: number | undefined,
    gone?: AbortSignal,
  ): Promise<Joined> {
    const { clock } = this.jobs.deps;
    this.profilesOf(jobId).add("training", profile);
    const untilMs = clock.monotonic() + limits.longPollMs;
    const over = gone === undefined ? this.jobs.signal : AbortSignal.any([this.jobs.signal, gone]);
    while (gone?.aborted !== true) {
      const own = jobId === undefined ? this.inNeedOf(trainer, profile) : this.find(jobId);
      if (own !== undefined && isFinal(own.board.state.phase)) return { kind: "done" };
      // Who holds the state of a suspended job lets it go, and asks for whatever there is to do.
      if (own?.pause?.kind === "suspended" && step !== undefined) return { kind: "ask again" };
      if (own?.coordinator?.work.membership !== undefined) {
        const joined = await own.coordinator.joinTraining(trainer, profile, jobId, step, gone);
        // The coordinator of a job that is suspended or tried again says that nothing will come from it any more.
        if (joined.kind !== "done" || isFinal(own.board.state.phase)) return joined;
      }
      const leftMs = untilMs - clock.monotonic();
      if (leftMs <= 0 || this.jobs.signal.aborted) return { kind: "ask again" };
      await this.jobs.workBell.next(clock, leftMs, over);
    }
    // Its connection was cut: a generation with it would wait for it in vain.
    return { kind: "ask again" };
  }

  async reportMissingFeatures(member: Member, imageIds: readonly ImageId[]): Promise<void> {
    // Where nobody is at work on the job, its trainers find out again when they have joined.
    await this.find(member.jobId).coordinator?.reportMissingFeatures(member, imageIds);
  }

  async reportStep(member: Member, report: StepReport): Promise<number> {
    const job = this.find(member.jobId);
    if (job.coordinator !== undefined) return job.coordinator.reportStep(member, report);
    return job.pause?.kind === "suspended" || isFinal(job.board.state.phase) ? member.generation + 1 : member.generation;
  }

  async reportStall(member: Member, step: number, missing: readonly string[]): Promise<number> {
    return this.find(member.jobId).coordinator?.reportStall(member, step, missing) ?? member.generation + 1;
  }

  async reportEvaluation(member: Member, evaluation: HistoryPoint): Promise<void> {
    await this.find(member.jobId).coordinator?.reportEvaluation(member, evaluation);
  }

  async commitCheckpoint(member: Member, step: number): Promise<void> {
    await this.ofMember(member).commitCheckpoint(member, step);
  }

  async reportPhase(member: Member, phase: "Evaluating" | "Exporting"): Promise<void> {
    await this.ofMember(member).reportPhase(member, phase);
  }

  async commitResult(member: Member): Promise<void> {
    await this.ofMember(member).commitResult(member);
  }

  async reportFailure(failure: WorkerFailure): Promise<void> {
    await this.find(failure.jobId).coordinator?.reportFailure(failure);
  }

  /** One job after the other is asked first, so that all of them get on. */
  private claimOfPool(worker: string, profile: NumericsProfile): TaskClaim | undefined {
    const jobs = this.jobs.all.filter(({ coordinator }) => coordinator?.work.extraction !== undefined);
    for (let offset = 0; offset < jobs.length; offset++) {
      const job = jobs[(this.turn + offset) % jobs.length]!;
      try {
        const claimed = job.coordinator?.tryClaim(worker, profile);
        if (claimed === undefined) continue;
        this.turn = (this.turn + offset + 1) % jobs.length;
        return claimed;
      } catch (error) {
        // A worker of the pool that does not fit one job may fit another.
        if (!(error instanceof CodedError && error.code === "NUMERICS_PROFILE_MISMATCH")) throw error;
      }
    }
    return undefined;
  }

  /** A worker of one job speaks for that job alone. */
  private profilesOf(jobId: string | undefined): WorkerProfiles {
    return jobId === undefined ? this.jobs.profiles : this.find(jobId).profiles;
  }

  private inNeedOf(trainer: string, profile: NumericsProfile): KnownJob | undefined {
    return this.jobs.all
      .filter(({ coordinator }) => coordinator?.work.membership?.needs(trainer, profile) === true)
      .sort((a, b) => a.record.submittedMs - b.record.submittedMs)[0];
  }

  private nextOfferMs(): number | undefined {
    const offers = this.jobs.all.flatMap(({ coordinator }) => coordinator?.work.extraction?.nextOfferMs() ?? []);
    return offers.length === 0 ? undefined : Math.min(...offers);
  }

  private find(jobId: string): KnownJob {
    const job = this.jobs.get(jobId);
    if (job === undefined)
      throw new CodedError(
        "JOB_NOT_FOUND",
        `there is no job ${jobId} here; it was submitted to another coordinator, or its record is gone from the store`,
      );
    return job;
  }

  /** Who is at work on the job of a task. @throws CodedError LEASE_LOST where nobody will be for now, SERVER_UNAVAILABLE between two tries */
  private ofTask({ jobId }: LeasedTask): JobCoordinator {
    return this.atWork(
      jobId,
      (why) => new CodedError("LEASE_LOST", `job ${jobId} ${why}: nothing is taken for it now; what was written is kept`),
    );
  }

  /** Who is at work on the job of a trainer. @throws CodedError GENERATION_STALE where nobody will be for now, SERVER_UNAVAILABLE between two tries */
  private ofMember({ jobId, trainer }: Member): JobCoordinator {
    return this.atWork(jobId, (why) => new CodedError("GENERATION_STALE", `job ${jobId} ${why}: trainer ${trainer} has to join again`));
  }

  private atWork(jobId: string, refusal: (why: string) => CodedError): JobCoordinator {
    const { coordinator, board, pause } = this.find(jobId);
    if (coordinator !== undefined) return coordinator;
    if (isFinal(board.state.phase)) throw refusal(`is ${board.state.phase}`);
    if (pause?.kind === "suspended") throw refusal("is suspended");
    throw new CodedError("SERVER_UNAVAILABLE", `job ${jobId} is about to be tried again; ask again`);
  }
}
