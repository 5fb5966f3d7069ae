import { CodedError, endsJob } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { imageIdAt } from "../../domain/features/image-ids.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { JobEvent } from "../../domain/job/events.js";
import type { CommittedShard, JobRecord, ListingRecord, Milestone, PlanRecord, TaskCommit } from "../../domain/job/records.js";
import { nextState, type JobState, type Move } from "../../domain/job/transitions.js";
import type { HistoryPoint } from "../../domain/training/history.js";
import { jobRecord, listingRecord, planRecord, resultRecord, samplesRecord } from "../../formats/job-records/job-records.js";
import { encodeListing } from "../../formats/listing/listing.js";
import { decodeTrainedWeights } from "../../formats/passport/trained-weights.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import type { FeatureStore } from "../../platform/feature-store/feature-store.js";
import { JobObjects, type JobStore } from "../../platform/job-store/job-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { Generation, StepReport, TaskClaim, TaskProgress, WorkService } from "../../platform/work-service/work-service.js";
import { collectSamples, warningsOf } from "./collect-samples.js";
import { Extraction } from "./extraction.js";
import { Membership } from "./membership.js";
import { pinPlan, type JobProfiles } from "./plan-job.js";
import { datasetChanged, scanJob } from "./scan-job.js";

export interface CoordinatorDeps {
  readonly store: ObjectStore;
  readonly jobs: JobStore;
  readonly backbones: BackboneStore;
  readonly openDataset: (source: string) => Promise<OpenedDataset>;
  readonly openFeatures: (plan: PlanRecord) => Promise<FeatureStore>;
  /** The profiles of the workers at hand; a job is pinned to them when it is planned. */
  readonly profiles: () => Promise<JobProfiles>;
  readonly clock: Clock;
  /** How many trainers make a generation. */
  readonly trainers: number;
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
  private state: JobState = { phase: "Pending", suspended: false };
  private readonly extracting = new Gate<Extraction>();
  private readonly training = new Gate<Membership>();
  private missing: readonly ImageId[] = [];
  private leaveTraining: ((next: "featuresMissing" | "exported") => void) | undefined;
  private signal: AbortSignal = new AbortController().signal;
  private workersFailed: Promise<never> = new Promise(() => undefined);
  /** The last report of each trainer. */
  readonly steps = new Map<string, StepReport>();

  constructor(jobId: string, deps: CoordinatorDeps) {
    this.deps = deps;
    this.job = new JobObjects(deps.store, jobId);
  }

  /**
   * Runs the job to its end; rejects with what made it fail, or with the signal's reason. Safe to repeat, and safe to lose at any await.
   * `workersFailed` rejects with the failure of a worker that nobody replaces.
   */
  async run(signal: AbortSignal, workersFailed: Promise<never>): Promise<void> {
    this.signal = signal;
    this.workersFailed = workersFailed;
    try {
      const record = await this.job.readJson("spec.json", jobRecord);
      if (record === undefined) throw new CodedError("OBJECT_MISSING", `${this.job.keyOf("spec.json")} is not in ${this.deps.store.location}; submit the job first`);

      // 1. What is there, and how is it computed?
      await this.move("started");
      const listing = await this.scan(record);
      await this.move("listed");
      const plan = await this.plan(record);
      await this.move("planned");

      // 2. Features, then training on them. Features that turn out to be damaged lead back here.
      for (;;) {
        await this.extract(record, listing, plan);
        await this.move("extracted");
        if ((await this.train(plan)) === "exported") break;
        signal.throwIfAborted();
        const lost = new Set(this.missing);
        const pictures = await Extraction.repair(this.job, listing, (id) => lost.has(imageIdAt(id, 0)));
        this.warn(`${String(pictures)} pictures are extracted again: their features were damaged and are quarantined`);
        await this.move("featuresMissing");
      }
      if (this.state.phase === "Training") await this.move("trained");
      if (this.state.phase === "Evaluating") await this.move("evaluated");
      await this.move("exported");
    } catch (error) {
      if (!signal.aborted) await this.fail(error);
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
      const now = await scanJob(dataset, async (_part, rows) => encodeListing(rows), progress);
      if (now.digest !== earlier.digest) throw datasetChanged(earlier.source);
      return earlier;
    }
    const listing = await scanJob(dataset, (part, rows) => this.job.writeListing(part, rows), progress);
    const { value } = await this.job.createJson("listing/summary.json", listing, listingRecord);
    this.deps.milestone("after scan");
    return value;
  }

  private async plan(record: JobRecord): Promise<PlanRecord> {
    const earlier = await this.job.readJson("plan.json", planRecord);
    if (earlier !== undefined) return earlier;
    const { name, digest } = record.job.backbone;
    const plan = pinPlan(record.job, await this.deps.backbones.find(name, digest), await this.deps.profiles());
    const { value } = await this.job.createJson("plan.json", plan, planRecord);
    this.deps.milestone("after plan");
    return value;
  }

  private async extract(record: JobRecord, listing: ListingRecord, plan: PlanRecord): Promise<void> {
    const features = await this.deps.openFeatures(plan);
    const extraction = await Extraction.open({ job: this.job, plan, listing, features, clock: this.deps.clock, announce: (event) => this.deps.announce(this.job.jobId, event) });
    this.extracting.open(extraction);
    await Promise.race([extraction.done(this.signal), this.workersFailed]);
    const earlier = await this.job.readJson("samples/summary.json", samplesRecord);
    const samples = earlier ?? (await collectSamples(this.job, record.job.dataset, listing, extraction));
    for (const warning of warningsOf(samples)) this.warn(warning);
    this.deps.milestone("after samples");
  }

  /** Trainers do the rest: steps, evaluation, export. Resolves when the result stands or features are missing. */
  private async train(plan: PlanRecord): Promise<"exported" | "featuresMissing"> {
    if ((await this.job.readJson("result.json", resultRecord)) !== undefined) return "exported";
    const left = new Promise<"exported" | "featuresMissing">((resolve) => (this.leaveTraining = resolve));
    const aborted = new Promise<never>((_resolve, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason as Error), { once: true });
    });
    this.training.open(new Membership(this.job, plan.trainingProfile, this.deps.trainers, this.deps.newKey));
    return Promise.race([left, aborted, this.workersFailed]);
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

  async heartbeatTask(lease: string, progress: TaskProgress): Promise<"kept" | "lost"> {
    return this.extracting.current?.heartbeat(lease, progress) ?? "lost";
  }

  async commitTask(lease: string, commit: TaskCommit): Promise<"committed" | "already committed"> {
    const outcome = await this.required(this.extracting).commit(lease, commit);
    this.deps.milestone("after commit");
    return outcome;
  }

  async releaseTask(lease: string, shards: readonly CommittedShard[]): Promise<void> {
    await this.extracting.current?.release(lease, shards);
  }

  async joinTraining(trainer: string, profile: NumericsProfile): Promise<Generation | "done"> {
    const membership = await this.training.next(undefined);
    return membership === "closed" ? "done" : membership.join(trainer, profile);
  }

  async reportMissingFeatures(_trainer: string, imageIds: readonly ImageId[]): Promise<void> {
    this.missing = imageIds;
    this.training.shut();
    this.leaveTraining?.("featuresMissing");
  }

  async reportStep(trainer: string, report: StepReport): Promise<void> {
    this.steps.set(trainer, report);
    this.deps.announce(this.job.jobId, { kind: "step", step: report.step, steps: report.steps, millisecondsPerStep: report.millisecondsPerStep ?? 0 });
  }

  async reportEvaluation(_trainer: string, { step, epoch, train, validation, seconds }: HistoryPoint): Promise<void> {
    this.deps.announce(this.job.jobId, {
      kind: "evaluation",
      step,
      epoch,
      crossEntropy: train.loss,
      trainAccuracy: train.accuracy,
      validationLoss: validation?.loss ?? null,
      validationAccuracy: validation?.accuracy ?? null,
      validationCount: validation?.count ?? 0,
      seconds,
    });
  }

  async commitCheckpoint(_trainer: string, step: number): Promise<void> {
    await this.deps.jobs.writeStatus(this.job.jobId, { formatVersion: 1, ...this.state, checkpointStep: step });
  }

  async reportPhase(_trainer: string, phase: "Evaluating" | "Exporting"): Promise<void> {
    await this.move(phase === "Evaluating" ? "trained" : "evaluated");
  }

  async commitResult(_trainer: string): Promise<void> {
    const weights = await this.job.readResult("weights.safetensors");
    if (weights === undefined) throw new CodedError("OBJECT_MISSING", `${this.job.keyOf("result/weights.safetensors")}: the result is committed and not there; run the job again`);
    await this.job.createJson("result.json", { formatVersion: 1, weightsSha256: decodeTrainedWeights(weights).weightsSha256 }, resultRecord);
    this.deps.milestone("after result");
    this.dismissTrainers();
    this.leaveTraining?.("exported");
  }

  // ---- state ----

  /** Those who wait for a generation learn that none will open. */
  private dismissTrainers(): void {
    this.training.current?.close();
    this.training.close();
  }

  private async move(move: Move): Promise<void> {
    this.state = nextState(this.state, move);
    await this.deps.jobs.writeStatus(this.job.jobId, { formatVersion: 1, ...this.state });
    this.deps.announce(this.job.jobId, { kind: "phase", phase: this.state.phase });
  }

  /** Records a failure. One that can be mended leaves the job in its phase: run again, it goes on. */
  private async fail(error: unknown): Promise<void> {
    const { code, message } = error instanceof CodedError ? error : { code: undefined, message: String(error) };
    if (code !== undefined && endsJob(code)) this.state = nextState(this.state, "gaveUp");
    // The failure itself matters more than a status that could not be written, on a full disk for example.
    await this.deps.jobs.writeStatus(this.job.jobId, { formatVersion: 1, ...this.state, code: code ?? "INTERNAL", message }).catch(() => undefined);
  }

  private warn(message: string): void {
    this.deps.announce(this.job.jobId, { kind: "warning", message });
  }

  private required<T>(gate: Gate<T>): T {
    if (gate.current === undefined) throw new CodedError("LEASE_LOST", `job ${this.job.jobId} is ${this.state.phase}: it takes no commits now; what was written is kept`);
    return gate.current;
  }
}

/** Hands what a phase opens to the workers that wait for it. */
class Gate<T> {
  current: T | undefined;
  private closed = false;
  private readonly waiting = new Set<() => void>();

  open(value: T): void {
    this.current = value;
    this.wake();
  }

  /** Nothing is open until the next `open`. */
  shut(): void {
    this.current = undefined;
  }

  close(): void {
    this.closed = true;
    this.wake();
  }

  /** What is open and not `known`, as soon as there is such. */
  async next(known: T | undefined): Promise<T | "closed"> {
    for (;;) {
      if (this.closed) return "closed";
      if (this.current !== undefined && this.current !== known) return this.current;
      await new Promise<void>((resolve) => this.waiting.add(resolve));
    }
  }

  private wake(): void {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }
}
