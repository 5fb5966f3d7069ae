import { CodedError } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { count } from "../../domain/job/figures.js";
import type { Workers } from "../../domain/job/job.js";
import type { JobRecord, PlanRecord, SamplesRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import type { HistoryPoint } from "../../domain/training/history.js";
import { resultRecord } from "../../formats/job-records/job-records.js";
import { decodeTrainedWeights } from "../../formats/passport/trained-weights.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { Joined, Member, StepReport } from "../../platform/work-service/work-service.js";
import type { CoordinatorDeps } from "./coordinator-deps.js";
import { Gate } from "./gate.js";
import type { JobProgress } from "./job-progress.js";
import { Membership, type MembershipDeps } from "./membership.js";
import type { StatusBoard } from "./status.js";
import { chooseFromStep, trainerBounds, type TrainerBounds } from "./trainers.js";

/** Why training was left. */
export type TrainingEnd = { readonly kind: "exported" } | { readonly kind: "featuresMissing"; readonly missing: readonly ImageId[] };

/** The phases from Training to Exporting, and what trainers ask meanwhile. They come again where features turn out to be damaged, with a `Membership` of their own each time. */
export class TrainingPhase {
  private readonly job: JobObjects;
  private readonly deps: CoordinatorDeps;
  private readonly progress: JobProgress;
  private readonly status: StatusBoard;
  private readonly training = new Gate<Membership>();
  private leaveTraining: (next: TrainingEnd) => void = () => undefined;
  /** Until the number of trainers has been decided within them. */
  private bounds: TrainerBounds | undefined;
  private asked: TrainerBounds | undefined;
  /** What the user has changed since the job was taken up. */
  private resized: Workers | undefined;
  /** Whether this object has come to the training, from which it may have gone back to extract what was missing. */
  private hasTrained = false;
  /** The last report of each trainer. */
  readonly steps = new Map<string, StepReport>();

  constructor(job: JobObjects, deps: CoordinatorDeps, progress: JobProgress) {
    this.job = job;
    this.deps = deps;
    this.progress = progress;
    this.status = progress.status;
  }

  get current(): Membership | undefined {
    return this.training.current;
  }

  /** Other bounds for the number of trainers: the next step that is measured decides anew within them. */
  resize(trainers: Workers): void {
    this.resized = trainers;
    const { asked, current } = this;
    if (asked === undefined || current === undefined) return;
    const most = Math.min(Math.max(1, trainers.max), asked.grains);
    this.bounds = { ...asked, most, least: Math.min(Math.max(1, trainers.min), most) };
    current.setWanted(Math.min(Math.max(current.wanted, this.bounds.least), most));
  }

  /** Trainers do the rest: steps, evaluation, export. Resolves when the result stands or features are missing. */
  async train(record: JobRecord, plan: PlanRecord, samples: SamplesRecord, signal: AbortSignal): Promise<TrainingEnd> {
    if ((await this.job.readJson("result.json", resultRecord)) !== undefined) return { kind: "exported" };
    const trainers = this.resized ?? this.deps.trainers ?? record.job.trainers;
    this.bounds = await trainerBounds({ ...record.job, trainers }, plan, samples, this.deps.backbones);
    this.asked = this.bounds;
    const { least, grains } = this.bounds;
    if (least < trainers.min)
      this.progress.warn(`${String(least)} of ${String(trainers.min)} trainers are needed: a batch has ${String(grains)} grains`);
    await this.status.update({ checkpointStep: (await this.job.checkpointSteps()).at(-1) ?? 0 });
    const end = new Promise<TrainingEnd>((resolve) => (this.leaveTraining = resolve));
    const deps: MembershipDeps = {
      job: this.job,
      profile: plan.trainingProfile,
      clock: this.deps.clock,
      newKey: this.deps.newKey,
      ...(this.deps.stepDeadlineMs !== undefined && { stepDeadlineMs: this.deps.stepDeadlineMs }),
      onNeed: () => this.deps.onChange?.(),
      onGeneration: ({ generation, trainers, startStep }, why) => {
        this.steps.clear();
        void this.status.update({ generation, trainers: trainers.length, step: startStep }).catch(() => undefined);
        this.deps.log?.append(
          "generation",
          `generation ${String(generation)}: ${trainers.join(", ")} from step ${String(startStep)} (${why})`,
        );
      },
    };
    const membership = this.deps.workersOutlive ? await Membership.open(deps, least) : new Membership(deps, least);
    this.hasTrained = true;
    this.training.open(membership);
    this.deps.onChange?.();
    const over = new AbortController();
    const ticking = this.keepTicking(membership, AbortSignal.any([signal, over.signal]));
    try {
      return await Promise.race([end, ticking, rejectionOf(signal)]);
    } finally {
      over.abort();
    }
  }

  /** Rejects where the store fails for good. Resolves where the result stands although this coordinator took none: the one before it, which was only paused, did. */
  private async keepTicking(membership: Membership, signal: AbortSignal): Promise<TrainingEnd> {
    for (;;) {
      const waitMs = Math.min(limits.trainerHeartbeatMs, membership.nextSilenceMs() ?? Infinity);
      await this.deps.clock.sleep(waitMs, signal).catch(() => new Promise<never>(() => undefined));
      await membership.tick();
      if (!this.deps.workersOutlive || membership.waitsFor === undefined) continue;
      if ((await this.job.readJson("result.json", resultRecord)) !== undefined) return { kind: "exported" };
    }
  }

  /** Those who wait for a generation learn that none will open. */
  dismissTrainers(): void {
    this.training.current?.close();
    this.training.close();
  }

  // ---- what trainers ask ----

  async joinTraining(trainer: string, profile: NumericsProfile, step: number | undefined, gone?: AbortSignal): Promise<Joined> {
    const patience = new AbortController();
    const tired = this.deps.clock.sleep(limits.longPollMs, patience.signal).then(
      () => "tired" as const,
      () => "tired" as const,
    );
    try {
      let known: Membership | undefined;
      for (;;) {
        const membership = await Promise.race([this.training.next(known), tired]);
        if (membership === "tired") return { kind: "ask again" };
        if (membership === "closed") return { kind: "done" };
        const answer = await membership.join(trainer, profile, step, gone);
        // A membership ends with its round of training; the job may go on with another one.
        if (answer.kind !== "done") return answer;
        known = membership;
      }
    } finally {
      patience.abort();
    }
  }

  async reportMissingFeatures(member: Member, imageIds: readonly ImageId[]): Promise<void> {
    const membership = this.training.current;
    // All trainers of a generation miss the same. The first report is acted on; one that comes later speaks of what is being mended.
    if (membership === undefined || membership.generation !== member.generation) return;
    this.training.shut();
    membership.close();
    this.leaveTraining({ kind: "featuresMissing", missing: imageIds });
  }

  async reportStep(member: Member, report: StepReport): Promise<number> {
    const membership = this.training.current;
    const { step, steps, millisecondsPerStep } = report;
    const stands =
      membership?.heard(member, millisecondsPerStep, step >= steps) ?? (this.hasTrained ? member.generation + 1 : member.generation);
    if (membership === undefined || stands !== member.generation) return stands;
    this.steps.set(member.trainer, report);
    // All trainers are at the same step, give or take one: one of them speaks for all.
    if (member.trainer !== membership.trainers[0] && membership.trainers.length > 0) return stands;
    if (millisecondsPerStep !== null) this.considerMoreTrainers(membership, millisecondsPerStep);
    this.progress.announce({ kind: "step", step, steps, millisecondsPerStep: millisecondsPerStep ?? 0 });
    return stands;
  }

  async reportStall(member: Member, step: number, missing: readonly string[]): Promise<number> {
    return this.training.current?.stalled(member, step, missing) ?? member.generation + 1;
  }

  async reportEvaluation(_member: Member, { step, epoch, train, validation, seconds }: HistoryPoint): Promise<void> {
    this.progress.announce({
      kind: "evaluation",
      step,
      epoch,
      crossEntropy: train?.loss ?? null,
      trainAccuracy: train?.accuracy ?? null,
      validationLoss: validation?.loss ?? null,
      validationAccuracy: validation?.accuracy ?? null,
      validationCount: validation?.count ?? 0,
      seconds,
    });
  }

  async commitCheckpoint(member: Member, step: number): Promise<void> {
    this.assertCurrent(member);
    await this.status.update({ checkpointStep: step });
  }

  async reportPhase(member: Member, phase: "Evaluating" | "Exporting"): Promise<void> {
    this.assertCurrent(member);
    // A trainer that takes the place of one that was lost in these phases reports them again.
    const { phase: now } = this.status.state;
    if (phase === "Evaluating" && now === "Training") await this.progress.move("trained");
    if (phase === "Exporting" && now === "Evaluating") await this.progress.move("evaluated");
  }

  async commitResult(member: Member): Promise<void> {
    this.assertCurrent(member);
    const weights = await this.job.readResult("weights.safetensors");
    if (weights === undefined)
      throw new CodedError(
        "OBJECT_MISSING",
        `${this.job.keyOf("result/weights.safetensors")}: the result is committed and not there; run the job again`,
      );
    await this.job.createJson(
      "result.json",
      { formatVersion: 1, weightsSha256: decodeTrainedWeights(weights).weightsSha256 },
      resultRecord,
    );
    this.deps.milestone("after result");
    this.dismissTrainers();
    this.leaveTraining({ kind: "exported" });
  }

  /** @throws CodedError GENERATION_STALE; SERVER_UNAVAILABLE while this coordinator has only begun and does not know yet which generation stands */
  private assertCurrent(member: Member): void {
    const membership = this.training.current;
    if (membership !== undefined) return membership.assertCurrent(member);
    const { jobId } = this.job;
    if (!this.hasTrained) throw new CodedError("SERVER_UNAVAILABLE", `job ${jobId} has not come to its training yet; ask again`);
    throw new CodedError("GENERATION_STALE", `job ${jobId} is not trained now: trainer ${member.trainer} has to join again`);
  }

  /** Where more trainers than now are worth it, spare ones are taken in. Decided once, from the first steps that were measured. */
  private considerMoreTrainers(membership: Membership, millisecondsPerStep: number): void {
    const { bounds } = this;
    if (bounds === undefined) return;
    this.bounds = undefined;
    if (!this.deps.workersOutlive) return;
    const { trainers, reason } = chooseFromStep(bounds, membership.trainers.length, millisecondsPerStep);
    this.status.note({ trainersReason: reason });
    this.deps.log?.append("trainers", `${count(trainers, "trainer")}: ${reason}`);
    membership.setWanted(trainers);
  }
}

/** Rejects with the signal's reason once it aborts. */
function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}
