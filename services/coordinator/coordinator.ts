import { CodedError, endsJob } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES, imageIdAt } from "../../domain/features/image-ids.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { JobEvent } from "../../domain/job/events.js";
import type {
  CommittedShard,
  JobRecord,
  ListingRecord,
  Milestone,
  PlanRecord,
  SamplesRecord,
  TaskCommit,
} from "../../domain/job/records.js";
import { nextState, type Move } from "../../domain/job/transitions.js";
import { limits } from "../../domain/limits.js";
import type { HistoryPoint } from "../../domain/training/history.js";
import { jobRecord, listingRecord, planRecord, resultRecord, samplesRecord } from "../../formats/job-records/job-records.js";
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
import { Membership } from "./membership.js";
import { backboneWarnings, checkFeasible, pinPlan, type JobProfiles } from "./plan-job.js";
import { datasetChanged, scanJob } from "./scan-job.js";
import { StatusBoard, type JobStatus } from "./status.js";
import { trainersOf } from "./trainers.js";

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
  /** How many trainers there are; more than grains are not needed. */
  readonly trainers: number;
  /** What one worker may use. */
  readonly memoryBytes: number;
  readonly newKey: () => Uint8Array;
  readonly announce: (jobId: string, event: JobEvent) => void;
  readonly milestone: (milestone: Milestone) => void;
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
  /** The last report of each trainer. */
  readonly steps = new Map<string, StepReport>();

  constructor(jobId: string, deps: CoordinatorDeps) {
    this.deps = deps;
    this.job = new JobObjects(deps.store, jobId);
    this.status = new StatusBoard(deps.jobs, jobId);
  }

  /**
   * Runs the job to its end; rejects with what made it fail, or with the signal's reason: INTERRUPTED leaves the job as it is, the failure of a worker that nobody replaces is the job's.
   * Safe to repeat, and safe to lose at any await.
   */
  async run(signal: AbortSignal): Promise<void> {
    this.signal = signal;
    try {
      const record = await this.job.readJson("spec.json", jobRecord);
      if (record === undefined)
        throw new CodedError(
          "OBJECT_MISSING",
          `${this.job.keyOf("spec.json")} is not in ${this.deps.store.location}; submit the job first`,
        );

      // 1. What is there, and how is it computed?
      await this.move("started");
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
      await this.move("exported", { checkpointStep: 0 });
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
    const dataset = await this.deps.openDataset(record.job.dataset.source);
    const earlier = await this.job.readJson("listing/summary.json", listingRecord);
    const progress = (pictures: number): void => {
      this.deps.announce(this.job.jobId, { kind: "scan", pictures });
    };
    if (earlier !== undefined) {
      const now = await scanJob(dataset, async (_part, rows) => encodeListing(rows), progress, this.signal);
      if (now.digest !== earlier.digest) throw datasetChanged(earlier.source);
      return earlier;
    }
    const listing = await scanJob(dataset, (part, rows) => this.job.writeListing(part, rows), progress, this.signal);
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
    const pinned = pinPlan(record.job, backbone, await this.deps.profiles());
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

  private async extract(record: JobRecord, listing: ListingRecord, plan: PlanRecord): Promise<SamplesRecord> {
    const features = await this.deps.openFeatures(plan);
    const extraction = await Extraction.open({
      job: this.job,
      plan,
      listing,
      features,
      clock: this.deps.clock,
      announce: (event) => this.deps.announce(this.job.jobId, event),
    });
    await this.status.update({ pictures: listing.pictures, tasks: extraction.tasks, tasksCommitted: extraction.commits.length });
    this.extracting.open(extraction);
    await extraction.done(this.signal);
    for (const problem of features.problems) this.warn(problem);
    const earlier = await this.job.readJson("samples/summary.json", samplesRecord);
    const samples = earlier ?? (await collectSamples(this.job, record.job.dataset, listing, extraction, this.signal));
    for (const warning of warningsOf(samples)) this.warn(warning);
    this.deps.milestone("after samples");
    return samples;
  }

  /** Trainers do the rest: steps, evaluation, export. Resolves when the result stands or features are missing. */
  private async train(record: JobRecord, plan: PlanRecord, samples: SamplesRecord): Promise<TrainingEnd> {
    if ((await this.job.readJson("result.json", resultRecord)) !== undefined) return { kind: "exported" };
    const trainers = await trainersOf(this.deps.trainers, record.job, plan, samples, this.deps.backbones);
    if (trainers < this.deps.trainers)
      this.warn(`${String(trainers)} of ${String(this.deps.trainers)} trainers are needed: a batch has no more grains`);
    await this.status.update({ trainers, checkpointStep: (await this.job.checkpointSteps()).at(-1) ?? 0 });
    const end = new Promise<TrainingEnd>((resolve) => (this.leaveTraining = resolve));
    this.training.open(new Membership(this.job, plan.trainingProfile, trainers, this.deps.newKey));
    return Promise.race([end, rejectionOf(this.signal)]);
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
    if (claim.kind === "task") {
      this.deps.milestone("after claim");
      return claim;
    }
    // Nothing left in this round; there is another only if features turn out to be damaged.
    return (await this.extracting.next(extraction)) === "closed" ? { kind: "done" } : this.claimTask(worker, profile);
  }

  async heartbeatTask({ lease }: LeasedTask, progress: TaskProgress): Promise<"kept" | "lost"> {
    return this.extracting.current?.heartbeat(lease, progress) ?? "lost";
  }

  async lookupFeatures(_task: LeasedTask, imageIds: Uint8Array, view: number): Promise<Uint8Array> {
    return this.extracting.current?.lookup(imageIds, view) ?? new Uint8Array(imageIds.length / IMAGE_ID_BYTES);
  }

  async commitTask({ lease }: LeasedTask, commit: TaskCommit): Promise<"committed" | "already committed"> {
    const extraction = this.extracting.current;
    if (extraction === undefined)
      throw new CodedError(
        "LEASE_LOST",
        `job ${this.job.jobId} is ${this.status.state.phase}: it takes no commits now; what was written is kept`,
      );
    const outcome = await extraction.commit(lease, commit);
    this.deps.milestone("after commit");
    await this.status.update({ tasksCommitted: extraction.commits.length });
    return outcome;
  }

  async releaseTask({ lease }: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    await this.extracting.current?.release(lease, shards);
  }

  async joinTraining(trainer: string, profile: NumericsProfile): Promise<Joined> {
    let known: Membership | undefined;
    for (;;) {
      const membership = await this.training.next(known);
      if (membership === "closed") return { kind: "done" };
      const answer = await membership.join(trainer, profile);
      if (answer === "not needed") return { kind: "done" };
      if (answer !== "closed") {
        await this.status.update({ generation: answer.generation });
        return { kind: "generation", ...answer };
      }
      known = membership;
    }
  }

  async reportMissingFeatures({ generation }: Member, imageIds: readonly ImageId[]): Promise<void> {
    const membership = this.training.current;
    // All trainers of a generation miss the same. The first report is acted on; one that comes later speaks of what is being mended.
    if (membership === undefined || membership.generation !== generation) return;
    this.training.shut();
    membership.close();
    this.leaveTraining({ kind: "featuresMissing", missing: imageIds });
  }

  async reportStep({ trainer, generation }: Member, report: StepReport): Promise<number> {
    this.steps.set(trainer, report);
    // All trainers are at the same step, give or take one: one of them speaks for all.
    if (trainer !== [...this.steps.keys()].sort()[0]) return generation;
    this.deps.announce(this.job.jobId, {
      kind: "step",
      step: report.step,
      steps: report.steps,
      millisecondsPerStep: report.millisecondsPerStep ?? 0,
    });
    return generation;
  }

  async reportStall({ generation }: Member): Promise<number> {
    return generation;
  }

  async reportFailure({ code, message }: WorkerFailure): Promise<void> {
    this.warn(`${code}: ${message}`);
  }

  async reportEvaluation(_member: Member, { step, epoch, train, validation, seconds }: HistoryPoint): Promise<void> {
    this.deps.announce(this.job.jobId, {
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

  async commitCheckpoint(_member: Member, step: number): Promise<void> {
    await this.status.update({ checkpointStep: step });
  }

  async reportPhase(_member: Member, phase: "Evaluating" | "Exporting"): Promise<void> {
    await this.move(phase === "Evaluating" ? "trained" : "evaluated");
  }

  async commitResult(_member: Member): Promise<void> {
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

  /** Those who wait for a generation learn that none will open. */
  private dismissTrainers(): void {
    this.training.current?.close();
    this.training.close();
  }

  private async move(move: Move, change: Partial<JobStatus> = {}): Promise<void> {
    const state = nextState(this.status.state, move);
    await this.status.update({ ...state, ...change });
    this.deps.announce(this.job.jobId, { kind: "phase", phase: state.phase });
  }

  /** Records a failure. One that can be mended leaves the job in its phase: run again, it goes on. An interruption is no failure. */
  private async fail(error: unknown): Promise<void> {
    const { code, message } = error instanceof CodedError ? error : { code: undefined, message: String(error) };
    if (code === "INTERRUPTED") return;
    const state = code !== undefined && endsJob(code) ? nextState(this.status.state, "gaveUp") : this.status.state;
    // The failure itself matters more than a status that could not be written, on a full disk for example.
    await this.status.update({ ...state, failure: { code: code ?? "INTERNAL", message } }).catch(() => undefined);
  }

  /** Once a run, however often its phases are repeated. */
  private warn(message: string): void {
    if (this.warned.has(message)) return;
    this.warned.add(message);
    this.deps.announce(this.job.jobId, { kind: "warning", message });
  }
}

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
