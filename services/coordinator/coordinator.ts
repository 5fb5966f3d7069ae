import { CodedError, endsJob, isWorkersOwn } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES, imageIdAt } from "../../domain/features/image-ids.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { type JobEvent, renderEvent } from "../../domain/job/events.js";
import { count } from "../../domain/job/figures.js";
import type { Workers } from "../../domain/job/job.js";
import type {
  CommittedShard,
  JobRecord,
  ListingRecord,
  Milestone,
  PlanRecord,
  SamplesRecord,
  TaskCommit,
} from "../../domain/job/records.js";
import type { JobResultSummary } from "../../domain/job/resource.js";
import type { JobStatus } from "../../domain/job/status.js";
import { isFinal, nextState, type Move } from "../../domain/job/transitions.js";
import { limits } from "../../domain/limits.js";
import type { HistoryPoint } from "../../domain/training/history.js";
import { jobRecord, listingRecord, planRecord, resultRecord, samplesRecord, taskCommit } from "../../formats/job-records/job-records.js";
import { parseJson } from "../../formats/json/json.js";
import { type Metrics, noSplit } from "../../formats/metrics/metrics.js";
import { encodeListing } from "../../formats/listing/listing.js";
import { decodeTrainedWeights } from "../../formats/passport/trained-weights.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import { JobObjects, type JobStore } from "../../platform/job-store/job-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
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
import { collectSamples, warningsOf } from "./collect-samples.js";
import { Extraction } from "./extraction.js";
import { Gate } from "./gate.js";
import { Membership, type MembershipDeps } from "./membership.js";
import { backboneWarnings, checkFeasible, pinPlan, type JobProfiles } from "./plan-job.js";
import { datasetChanged, scanJob } from "./scan-job.js";
import type { JobLog } from "./job-log.js";
import { StatusBoard } from "./status.js";
import { chooseFromStep, trainerBounds, type TrainerBounds } from "./trainers.js";

export interface CoordinatorDeps {
  readonly store: ObjectStore;
  readonly jobs: JobStore;
  readonly backbones: BackboneStore;
  readonly openDataset: (source: string) => Promise<OpenedDataset>;
  readonly openFeatures: (plan: PlanRecord) => Promise<JobFeatures>;
  /** The profiles of the workers at hand; a job is pinned to them when it is planned. */
  readonly profiles: () => Promise<JobProfiles>;
  /** The bytes of the weights that a job's `initialWeights.fromResult` names. */
  readonly readWeights: (from: string) => Promise<Uint8Array>;
  readonly clock: Clock;
  /** Workers live on when this coordinator ends: what they are at is taken up. Otherwise they share its process. */
  readonly workersOutlive: boolean;
  /** Instead of the job's own: a run of one process that goes on with an earlier one may have others. */
  readonly trainers?: Workers;
  /** How long an extractor may be silent before its task is given to another; default limits.leaseMs. */
  readonly leaseMs?: number;
  /** Least silence after which a trainer is given up; default limits.stepDeadlineMsMin. */
  readonly stepDeadlineMs?: number;
  /** What one worker may use. */
  readonly memoryBytes: number;
  readonly newKey: () => Uint8Array;
  readonly announce: (jobId: string, event: JobEvent) => void;
  readonly milestone: (milestone: Milestone) => void;
  /** Where this job's events are kept. */
  readonly log?: JobLog;
  /** Where the job's status is kept, for a job that outlives this object. */
  readonly status?: StatusBoard;
  /** A worker may find something to do. */
  readonly onChange?: () => void;
}

/**
 * One job from its record to its result. Its phases leave facts in the store, each written once; where the job stands is read off them, so a coordinator that is started
 * anew goes on where the last one was. Workers talk to it through `WorkService`.
 */
export class JobCoordinator implements WorkService {
  private readonly deps: CoordinatorDeps;
  private readonly job: JobObjects;
  private readonly status: StatusBoard;
  private readonly extracting = new Gate<Extraction>();
  private readonly training = new Gate<Membership>();
  private leaveTraining: (next: TrainingEnd) => void = () => undefined;
  private readonly warned = new Set<string>();
  private signal: AbortSignal = AbortSignal.abort(new Error("run has not been called"));
  private readonly failure = new AbortController();
  private bounds: TrainerBounds | undefined;
  /** Whether this object has come to the training, from which it may have gone back to extract what was missing. */
  private hasTrained = false;
  /** Failures of workers that a repetition may cure. */
  private failures = 0;
  private hasGivenUp = false;
  /** The last report of each trainer. */
  readonly steps = new Map<string, StepReport>();

  constructor(jobId: string, deps: CoordinatorDeps) {
    this.deps = deps;
    this.job = new JobObjects(deps.store, jobId);
    this.status = deps.status ?? new StatusBoard(deps.jobs, jobId);
  }

  /** Where the job is, for watchers. */
  get current(): JobStatus {
    return this.status.current;
  }

  /** What extracts and who trains now, for people who ask why. */
  get work(): { readonly extraction: Extraction | undefined; readonly membership: Membership | undefined } {
    return { extraction: this.extracting.current, membership: this.training.current };
  }

  /**
   * Runs the job to its end; rejects with what made it fail, or with the signal's reason: INTERRUPTED leaves the job as it is, the failure of a worker that nobody replaces is the job's.
   * Safe to repeat, and safe to lose at any await.
   */
  async run(signal: AbortSignal): Promise<void> {
    this.signal = AbortSignal.any([signal, this.failure.signal]);
    try {
      const record = await this.job.readJson("spec.json", jobRecord);
      if (record === undefined)
        throw new CodedError(
          "OBJECT_MISSING",
          `${this.job.keyOf("spec.json")} is not in ${this.deps.store.location}; submit the job first`,
        );

      // 1. What is there, and how is it computed?
      await this.move("started", { startedMs: this.status.current.startedMs ?? this.deps.clock.now() });
      const listing = await this.scan(record);
      await this.move("listed");
      const plan = await this.plan(record, listing);
      await this.move("planned");

      // 2. Features, then training on them. Features that turn out to be damaged lead back here.
      for (let round = 0; ; round++) {
        const samples = await this.extract(record, listing, plan);
        await this.move("extracted");
        const end = await this.train(record, plan, samples);
        if (end.kind === "exported") break;
        await this.repair(listing, plan, end.missing, round);
        await this.move("featuresMissing");
      }

      // 3. The result stands; what only a restart would need goes.
      if (this.status.state.phase === "Training") await this.move("trained");
      if (this.status.state.phase === "Evaluating") await this.move("evaluated");
      for (const step of await this.job.checkpointSteps()) await this.job.deleteCheckpoint(step);
      await this.move("exported", { checkpointStep: 0, endedMs: this.deps.clock.now(), result: await this.resultSummary() });
    } catch (error) {
      await this.fail(error);
      throw error;
    } finally {
      this.extracting.close();
      this.dismissTrainers();
    }
  }

  // ---- phases ----

  /** Lists the dataset, once. A job that goes on first looks whether its dataset is still the one it listed. */
  private async scan(record: JobRecord): Promise<ListingRecord> {
    const earlier = await this.job.readJson("listing/summary.json", listingRecord);
    // Workers notice pictures that changed since; a coordinator that is started anew in a cluster does not list millions again.
    if (earlier !== undefined && this.deps.workersOutlive) return earlier;
    const dataset = await this.deps.openDataset(record.job.dataset.source);
    const progress = (pictures: number): void => {
      this.announce({ kind: "scan", pictures });
    };
    if (earlier !== undefined) {
      const now = await scanJob(dataset, async (_part, rows) => encodeListing(rows), progress, this.deps.clock, this.signal);
      if (now.digest !== earlier.digest) throw datasetChanged(earlier.source);
      return earlier;
    }
    const listing = await scanJob(dataset, (part, rows) => this.job.writeListing(part, rows), progress, this.deps.clock, this.signal);
    const { value } = await this.job.createJson("listing/summary.json", listing, listingRecord);
    this.deps.milestone("after scan");
    return value;
  }

  private async plan(record: JobRecord, listing: ListingRecord): Promise<PlanRecord> {
    const earlier = await this.job.readJson("plan.json", planRecord);
    if (earlier !== undefined) return earlier;
    const { name, digest } = record.job.backbone;
    const backbone = await this.deps.backbones.find(name, digest);
    const { initialWeights } = record.job;
    const given = initialWeights.kind === "result" ? await this.deps.readWeights(initialWeights.from) : undefined;
    const profiles = await this.profilesOrPlan();
    if ("cut" in profiles) return profiles;
    const pinned = pinPlan(record.job, backbone, profiles);
    checkFeasible(record.job, backbone, pinned, listing, given, this.deps.memoryBytes);
    for (const warning of backboneWarnings(backbone, pinned)) this.warn(warning);
    const plan: PlanRecord = {
      ...pinned,
      initialWeights:
        initialWeights.kind === "result" && given !== undefined
          ? { sha256: await this.job.writeInitialWeights(given), from: initialWeights.from }
          : null,
    };
    const { value } = await this.job.createJson("plan.json", plan, planRecord);
    this.deps.milestone("after plan");
    return value;
  }

  /**
   * The profiles of the first workers, or the plan that another coordinator has made with them meanwhile: one that this one took for dead may have woken, and its workers, who are busy with its tasks, would
   * never come to ask for one here.
   */
  private async profilesOrPlan(): Promise<JobProfiles | PlanRecord> {
    const profiles = this.deps.profiles();
    for (;;) {
      const over = new AbortController();
      const look = this.deps.clock.sleep(PLAN_LOOK_MS, AbortSignal.any([this.signal, over.signal])).then(
        () => "look" as const,
        () => profiles,
      );
      const found = await Promise.race([profiles, look]).finally(() => over.abort());
      if (found !== "look") return found;
      const plan = await this.job.readJson("plan.json", planRecord);
      if (plan !== undefined) return plan;
    }
  }

  private async extract(record: JobRecord, listing: ListingRecord, plan: PlanRecord): Promise<SamplesRecord> {
    const features = await this.deps.openFeatures(plan);
    const extraction = await Extraction.open({
      job: this.job,
      plan,
      listing,
      features,
      clock: this.deps.clock,
      ...(this.deps.leaseMs !== undefined && { leaseMs: this.deps.leaseMs }),
      announce: (event) => this.announce(event),
      onChange: () => this.deps.onChange?.(),
    });
    await this.status.update({ pictures: listing.pictures, tasks: extraction.tasks, tasksCommitted: extraction.committed.size });
    this.extracting.open(extraction);
    this.deps.onChange?.(); // extractors that asked before there was a task
    await extraction.done(this.signal);
    for (const problem of features.problems) this.warn(problem);
    const earlier = await this.job.readJson("samples/summary.json", samplesRecord);
    const samples = earlier ?? (await collectSamples(this.job, record.job.dataset, listing, extraction, this.deps.clock, this.signal));
    for (const warning of warningsOf(samples)) this.warn(warning);
    this.deps.milestone("after samples");
    return samples;
  }

  /** Trainers do the rest: steps, evaluation, export. Resolves when the result stands or features are missing. */
  private async train(record: JobRecord, plan: PlanRecord, samples: SamplesRecord): Promise<TrainingEnd> {
    if ((await this.job.readJson("result.json", resultRecord)) !== undefined) return { kind: "exported" };
    const trainers = this.deps.trainers ?? record.job.trainers;
    this.bounds = await trainerBounds({ ...record.job, trainers }, plan, samples, this.deps.backbones);
    const { least, grains } = this.bounds;
    if (least < trainers.min)
      this.warn(`${String(least)} of ${String(trainers.min)} trainers are needed: a batch has ${String(grains)} grains`);
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
    const ticking = this.keepTicking(membership, AbortSignal.any([this.signal, over.signal]));
    try {
      return await Promise.race([end, ticking, rejectionOf(this.signal)]);
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

  /** Adds a task for pictures whose features are gone. @throws CodedError OBJECT_CORRUPT where that does not help */
  private async repair(listing: ListingRecord, plan: PlanRecord, missing: readonly ImageId[], round: number): Promise<void> {
    const lost = new Set(missing);
    const pictures = round < limits.repairRounds ? await Extraction.repair(this.job, listing, (id) => lost.has(imageIdAt(id, 0))) : 0;
    if (pictures === 0) {
      throw new CodedError(
        "OBJECT_CORRUPT",
        `features/${plan.featureSpecDigest} in ${this.deps.store.location}: the features of ${String(missing.length)} pictures are damaged, and extracting them again did not help; check the store's disk, then run again`,
      );
    }
    this.warn(`${String(pictures)} pictures are extracted again: their features were damaged and are quarantined`);
    await this.status.update({ picturesLost: pictures });
  }

  // ---- WorkService ----

  async claimTask(worker: string, profile: NumericsProfile): Promise<TaskClaim> {
    const extraction = await this.extracting.next(undefined);
    if (extraction === "closed") return { kind: "done" };
    const claim = await extraction.claim(worker, profile, this.signal);
    if (claim.kind !== "done") return claim;
    // Nothing left in this round; there is another only if features turn out to be damaged.
    return (await this.extracting.next(extraction)) === "closed" ? { kind: "done" } : this.claimTask(worker, profile);
  }

  /** The first pictures that turned out to be none. */
  async rejectedPictures(count: number): Promise<{ readonly uri: string; readonly reason: string }[]> {
    const found: { uri: string; reason: string }[] = [];
    const committed = [...(this.extracting.current?.committed ?? [])].filter(([, { rejected }]) => rejected > 0);
    for (const [task] of committed.sort(([a], [b]) => a - b)) {
      if (found.length >= count) break;
      const pictures = await this.job.readListing(task);
      for (const { row, reason } of (await this.job.readCommit(task, taskCommit))?.rejected ?? [])
        found.push({ uri: pictures[row]?.uri ?? `row ${String(row)} of task ${String(task)}`, reason });
    }
    return found.slice(0, count);
  }

  /** A task, if there is one for this worker right now. @throws CodedError NUMERICS_PROFILE_MISMATCH */
  tryClaim(worker: string, profile: NumericsProfile): TaskClaim | undefined {
    const claim = this.extracting.current?.tryClaim(worker, profile);
    return claim?.kind === "done" ? undefined : claim;
  }

  async heartbeatTask(task: LeasedTask, progress: TaskProgress): Promise<"kept" | "lost"> {
    const extraction = this.extracting.current;
    if (extraction !== undefined) return extraction.heartbeat(task, progress);
    // A coordinator that has only begun has not opened the job's extraction yet.
    return this.deps.workersOutlive && this.isBeforeExtraction ? "kept" : "lost";
  }

  async lookupFeatures(_task: LeasedTask, imageIds: Uint8Array, view: number): Promise<Uint8Array> {
    return this.extracting.current?.lookup(imageIds, view) ?? new Uint8Array(imageIds.length / IMAGE_ID_BYTES);
  }

  async commitTask({ lease }: LeasedTask, commit: TaskCommit): Promise<"committed" | "already committed"> {
    const extraction = this.isBeforeExtraction ? await this.extracting.next(undefined) : this.extracting.current;
    if (extraction === undefined || extraction === "closed")
      throw new CodedError(
        "LEASE_LOST",
        `job ${this.job.jobId} is ${this.status.state.phase}: it takes no commits now; what was written is kept`,
      );
    const outcome = await extraction.commit(lease, commit);
    this.deps.milestone("after commit");
    // The commit stands; the status, which only shows it, is written by and by.
    void this.status.update({ tasksCommitted: extraction.committed.size }).catch(() => undefined);
    return outcome;
  }

  async releaseTask({ lease }: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    const extraction = this.isBeforeExtraction ? await this.extracting.next(undefined) : this.extracting.current;
    if (extraction !== "closed") await extraction?.release(lease, shards);
  }

  private get isBeforeExtraction(): boolean {
    return ["Pending", "Scanning", "Planning"].includes(this.status.state.phase);
  }

  async joinTraining(trainer: string, profile: NumericsProfile, _jobId: string | undefined, step: number | undefined): Promise<Joined> {
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
        const answer = await membership.join(trainer, profile, step);
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
    this.announce({ kind: "step", step, steps, millisecondsPerStep: millisecondsPerStep ?? 0 });
    return stands;
  }

  async reportStall(member: Member, step: number, missing: readonly string[]): Promise<number> {
    return this.training.current?.stalled(member, step, missing) ?? member.generation + 1;
  }

  async reportFailure({ worker, code, message, lease }: WorkerFailure): Promise<void> {
    this.deps.log?.append("failure", `${worker}: ${message} [${code}]`);
    if (lease !== undefined) await this.extracting.current?.release(lease, []);
    if (code !== "INTERNAL" && isWorkersOwn(code)) return this.warn(`${worker}: ${message}`);
    if (code === "INTERNAL" || !endsJob(code)) {
      if (++this.failures <= limits.workerFailuresMax) return this.warn(`${worker}: ${message}`);
      this.hasGivenUp = true;
    }
    this.failure.abort(code === "INTERNAL" ? new Error(`${worker}: ${message}`) : new CodedError(code, message));
  }

  async reportEvaluation(_member: Member, { step, epoch, train, validation, seconds }: HistoryPoint): Promise<void> {
    this.announce({
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
    if (phase === "Evaluating" && now === "Training") await this.move("trained");
    if (phase === "Exporting" && now === "Evaluating") await this.move("evaluated");
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

  // ---- state ----

  /** @throws CodedError GENERATION_STALE; SERVER_UNAVAILABLE while this coordinator has only begun and does not know yet which generation stands */
  private assertCurrent(member: Member): void {
    const membership = this.training.current;
    if (membership !== undefined) return membership.assertCurrent(member);
    const { jobId } = this.job;
    if (!this.hasTrained) throw new CodedError("SERVER_UNAVAILABLE", `job ${jobId} has not come to its training yet; ask again`);
    throw new CodedError("GENERATION_STALE", `job ${jobId} is not trained now: trainer ${member.trainer} has to join again`);
  }

  /** Those who wait for a generation learn that none will open. */
  private dismissTrainers(): void {
    this.training.current?.close();
    this.training.close();
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

  /** What the result is, for the status: read back from its metrics. */
  private async resultSummary(): Promise<JobResultSummary> {
    const { weightsSha256 } = (await this.job.readJson("result.json", resultRecord))!;
    const metrics = await this.job.readResult("metrics.json");
    const { accuracy, count } =
      metrics === undefined ? noSplit : (parseJson(metrics, this.job.keyOf("result/metrics.json")) as Metrics).test;
    return {
      location: `${this.deps.store.location}/${this.job.keyOf("result")}`,
      weightsSha256,
      ...(accuracy !== null && { testAccuracy: accuracy }),
      ...(count !== null && { testCount: count }),
    };
  }

  private async move(move: Move, change: Partial<JobStatus> = {}): Promise<void> {
    const state = nextState(this.status.state, move);
    await this.status.update({ ...state, ...change });
    this.announce({ kind: "phase", phase: state.phase });
  }

  /** Tells those who listen; what watchers see of it goes into the status, what is rare into the log. */
  private announce(event: JobEvent): void {
    this.status.note(noted(event));
    if (event.kind === "phase" || event.kind === "warning" || event.kind === "evaluation")
      this.deps.log?.append(event.kind, renderEvent(event));
    this.deps.announce(this.job.jobId, event);
  }

  /** Records a failure. One that can be mended leaves the job in its phase: run again, it goes on. An interruption is no failure. */
  private async fail(error: unknown): Promise<void> {
    const { code, message } = error instanceof CodedError ? error : { code: undefined, message: String(error) };
    if (code === "INTERRUPTED") return;
    const state = this.hasGivenUp || (code !== undefined && endsJob(code)) ? nextState(this.status.state, "gaveUp") : this.status.state;
    this.deps.log?.append("failure", `${message} [${code ?? "INTERNAL"}]`);
    const ended = isFinal(state.phase) ? { endedMs: this.deps.clock.now() } : {};
    // The failure itself matters more than a status that could not be written, on a full disk for example.
    await this.status.update({ ...state, ...ended, failure: { code: code ?? "INTERNAL", message } }).catch(() => undefined);
  }

  /** Once a run, however often its phases are repeated. */
  private warn(message: string): void {
    if (this.warned.has(message)) return;
    this.warned.add(message);
    this.announce({ kind: "warning", message });
  }
}

/** How often a coordinator that waits for its first workers looks whether another one has planned the job. */
const PLAN_LOOK_MS = 5_000;

/** Why training was left. */
type TrainingEnd = { readonly kind: "exported" } | { readonly kind: "featuresMissing"; readonly missing: readonly ImageId[] };

/** Rejects with the signal's reason once it aborts. */
function rejectionOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}

/** What an event changes in the status. */
function noted(event: JobEvent): Partial<JobStatus> {
  switch (event.kind) {
    case "scan":
      return { pictures: event.pictures };
    case "extraction":
      return { extracted: event.done, cached: event.cached, rejected: event.rejected, imagesPerSecond: event.imagesPerSecond };
    case "step":
      return {
        step: event.step,
        steps: event.steps,
        ...(event.millisecondsPerStep > 0 && { millisecondsPerStep: event.millisecondsPerStep }),
      };
    case "evaluation": {
      const { step, epoch, crossEntropy, trainAccuracy, validationLoss, validationAccuracy, validationCount } = event;
      return {
        evaluation: {
          step,
          epoch,
          validationCount,
          ...(crossEntropy !== null && { trainLoss: crossEntropy }),
          ...(trainAccuracy !== null && { trainAccuracy }),
          ...(validationLoss !== null && { validationLoss }),
          ...(validationAccuracy !== null && { validationAccuracy }),
        },
      };
    }
    default:
      return {};
  }
}
