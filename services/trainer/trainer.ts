import assert from "node:assert";
import { CodedError } from "../../domain/errors.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { Milestone, PlanRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { type GivenWeights, initializeState } from "../../domain/training/initial-state.js";
import { planTraining, type TrainingPlan } from "../../domain/training/training-plan.js";
import { alignedSubTrees } from "../../domain/training/tree.js";
import { decodeGivenWeights } from "../../formats/passport/given-weights.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Engine } from "../../platform/engine/engine.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { GradientBus } from "../../platform/gradient-bus/gradient-bus.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import type { LaneStore } from "../../platform/lane-store/lane-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { Generation, Member, WorkService } from "../../platform/work-service/work-service.js";
import { Checkpoints } from "./checkpoints.js";
import { Evaluator } from "./evaluator.js";
import { Exchange } from "./exchange.js";
import { exportResult } from "./export-result.js";
import { counters, OwnGrains, trainableOf } from "./own-grains.js";
import { readFacts } from "./job-facts.js";
import { residentRows, type RowSource } from "./row-sources.js";
import { StreamedRows } from "./streamed-rows.js";
import { train } from "./train-loop.js";
import { type loadTrainingSet, MissingFeatures, type TrainingSet } from "./training-set.js";
import { TrainingState } from "./training-state.js";

export interface TrainerDeps {
  readonly work: WorkService;
  readonly store: ObjectStore;
  readonly backbones: BackboneStore;
  readonly bus: GradientBus;
  readonly engine: () => Promise<Engine>;
  readonly clock: Clock;
  readonly openFeatures: (plan: PlanRecord) => Promise<JobFeatures>;
  /** `loadTrainingSet`; trainers of one process share what it returns. */
  readonly loadTrainingSet: (...inputs: Parameters<typeof loadTrainingSet>) => Promise<TrainingSet>;
  /** Trainers of one process share what it returns, so that they make lanes one after another. */
  readonly openLanes: (features: JobFeatures) => LaneStore;
  readonly milestone: (milestone: Milestone) => void;
}

/**
 * The life of a trainer: joins a generation, trains in it, and, if it is the first of the trainers, evaluates and exports. Goes on until the job needs no trainer any more.
 * A generation that cannot go on (a damaged checkpoint, a member that is not heard) is left, and the next one joined.
 */
export async function runTrainer(trainer: string, deps: TrainerDeps, signal: AbortSignal): Promise<void> {
  const engine = await deps.engine();
  while (!signal.aborted) {
    const generation = await deps.work.joinTraining(trainer, engine.gradientProfile, undefined, undefined);
    if (generation.kind === "done") return;
    if (generation.kind === "ask again") continue;
    try {
      await trainInGeneration(trainer, generation, deps, engine, signal);
    } catch (error) {
      if (error instanceof MissingFeatures) await deps.work.reportMissingFeatures({ ...generation, trainer }, error.imageIds);
      else if (!(error instanceof CodedError && error.code === "EXCHANGE_INCOMPLETE")) throw error;
    }
  }
}

async function trainInGeneration(
  trainer: string,
  generation: Generation,
  deps: TrainerDeps,
  engine: Engine,
  signal: AbortSignal,
): Promise<void> {
  const { work, clock, milestone } = deps;
  const rank = generation.trainers.indexOf(trainer);
  const member: Member = { jobId: generation.jobId, trainer, generation: generation.generation };
  assert(rank >= 0, `trainer ${trainer} is no member of generation ${String(generation.generation)}`);

  // 1. What to train, and on what.
  const job = new JobObjects(deps.store, generation.jobId);
  const facts = await readFacts(job);
  const features = await deps.openFeatures(facts.plan);
  const backbone = await deps.backbones.find(facts.plan.backbone.name, facts.plan.backbone.digest);
  const cut = cutBackbone(facts.record.job, backbone.backbone);
  const plan = planTraining(facts.record.job, cut, facts.samples);
  const set = await deps.loadTrainingSet(job, facts.samples, features, plan, signal);
  const place = { rank, trainers: generation.trainers.length };
  const source = rowSourceOf(plan, set, deps.openLanes(features));
  await source.prepare(place, signal);

  // 2. The state to start from: that of the generation's checkpoint, or the initial one.
  const state = new TrainingState(plan);
  const checkpoints = new Checkpoints(job, plan, milestone);
  if (generation.startStep === 0) initializeState(state, plan, facts.record.job, backbone, await initialWeights(job, facts.plan));
  else if (!(await checkpoints.restore(state, generation.startStep))) return;

  // 3. Train.
  const opened: (() => Promise<void> | void)[] = [];
  try {
    const exchange =
      place.trainers === 1
        ? undefined
        : new Exchange(
            deps,
            channelOf(generation, rank),
            generation.trainers,
            plan.grains,
            plan.layout.length + counters(plan),
            state.step,
          );
    opened.push(() => exchange?.close());
    const batches = await source.openBatches(place, signal);
    opened.push(() => batches.close());
    const nodes = exchange?.ownNodes ?? alignedSubTrees(0, plan.grains);
    const grains = await OwnGrains.open(plan, nodes, batches.order, batches.rows, engine, state.optimizer.sums);
    opened.push(() => grains.release());
    const evaluation = await engine.compileEvaluation(trainableOf(plan), plan.evaluationRows);
    opened.push(() => evaluation.release());
    const evaluator = new Evaluator(plan, source.split("validation", signal), evaluation, clock, place);
    const pace = new Pace(clock, state.step);
    const outcome = await train(
      { plan, state, grains, evaluator, exchange },
      {
        onStep: async () => {
          if (pace.isDue(state)) await work.reportStep(member, pace.report(state, plan, grains));
        },
        onEvaluation: async () => {
          const point = state.history.at(-1);
          assert(point !== undefined);
          if (rank === 0) await work.reportEvaluation(member, point);
        },
        saveCheckpoint: async () => {
          if (rank !== 0) return;
          await checkpoints.save(state);
          await work.commitCheckpoint(member, state.step);
        },
        milestone,
      },
      signal,
    );
    await work.reportStep(member, pace.report(state, plan, grains));
    if (outcome === "interrupted" || rank !== 0) return;

    // 4. Evaluate and export, one trainer for all. What is evaluated takes the memory of the rows that were trained on.
    await batches.close();
    await work.reportPhase(member, "Evaluating");
    await exportResult({
      job,
      facts,
      backbone,
      prefix: cut.prefix,
      preprocessing: cut.preprocessing,
      lastLayer: cut.network.output,
      plan,
      state,
      set,
      source,
      features,
      evaluator,
      engine,
      clock,
      signal,
      milestone,
      millisecondsPerStep: pace.millisecondsPerStep,
      onExport: () => work.reportPhase(member, "Exporting"),
    });
    await work.commitResult(member);
  } finally {
    for (const close of opened.reverse()) await close();
  }
}

/** The tensors that the job's training starts from, which the coordinator put aside. */
async function initialWeights(job: JobObjects, { initialWeights: pinned }: PlanRecord): Promise<GivenWeights | undefined> {
  return pinned === null ? undefined : decodeGivenWeights(await job.readInitialWeights(pinned.sha256), pinned.from);
}

function rowSourceOf(plan: TrainingPlan, set: TrainingSet, lanes: LaneStore): RowSource {
  if (plan.streaming !== undefined) return new StreamedRows(plan, plan.streaming, set, lanes);
  assert(set.resident !== undefined);
  return residentRows(plan, set, set.resident);
}

function channelOf(generation: Generation, self: number) {
  return { job: generation.jobId, generation: generation.generation, trainers: generation.trainers.length, self, key: generation.key };
}

/** How fast the training goes, measured without its first steps, which load caches. */
class Pace {
  private readonly clock: Clock;
  private readonly firstStep: number;
  private lastReportMs = -Infinity;
  private warm: { readonly step: number; readonly ms: number } | undefined;
  private latest: { readonly step: number; readonly ms: number } | undefined;

  constructor(clock: Clock, firstStep: number) {
    this.clock = clock;
    this.firstStep = firstStep;
  }

  isDue({ step }: TrainingState): boolean {
    const ms = this.clock.monotonic();
    if (step - this.firstStep === WARM_UP_STEPS) this.warm = { step, ms };
    this.latest = { step, ms };
    if (ms - this.lastReportMs < limits.stepReportMs) return false;
    this.lastReportMs = ms;
    return true;
  }

  /** Wall time a step, evaluations and checkpoints included; null before the warm-up is over. */
  get millisecondsPerStep(): number | null {
    const { warm, latest } = this;
    return warm === undefined || latest === undefined || latest.step === warm.step
      ? null
      : (latest.ms - warm.ms) / (latest.step - warm.step);
  }

  report({ step }: TrainingState, plan: TrainingPlan, grains: OwnGrains) {
    return { step, steps: plan.steps, millisecondsPerStep: this.millisecondsPerStep, grainsComputed: grains.computed };
  }
}

const WARM_UP_STEPS = 5;
