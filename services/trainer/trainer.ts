import assert from "node:assert";
import { CodedError } from "../../domain/errors.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { Milestone, PlanRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { type GivenWeights, initializeState } from "../../domain/training/initial-state.js";
import { planTraining, type TrainingPlan } from "../../domain/training/training-plan.js";
import type { Channel } from "../../domain/training/exchange/message.js";
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
import type { Generation, Member, StepReport, WorkService } from "../../platform/work-service/work-service.js";
import { Checkpoints } from "./checkpoints.js";
import { Evaluator } from "./evaluator.js";
import { Exchange } from "./exchange.js";
import { exportResult } from "./export-result.js";
import { counters, OwnGrains, trainableOf } from "./own-grains.js";
import { readFacts } from "./job-facts.js";
import { LifeSigns } from "./life-signs.js";
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
  readonly openLanes: (features: JobFeatures, plan: PlanRecord) => LaneStore;
  readonly milestone: (milestone: Milestone) => void;
  /** A generation was left after so many grains of its own. */
  readonly onGeneration?: (member: Member, grainsComputed: number) => void;
  /** What no next generation mends; this trainer ends with it. */
  readonly onFailure?: (member: Member, error: unknown) => Promise<void>;
}

/** The state that a trainer holds when it leaves a generation. */
interface HeldState {
  readonly jobId: string;
  readonly state: TrainingState;
}

/**
 * The life of a trainer: joins a generation, trains in it, and, if it is the first of the trainers, evaluates and exports. Goes on until its job, or with `jobId` undefined until every job, needs no trainer any more.
 * A generation that cannot go on (a damaged checkpoint, a member that is not heard, one that joins or leaves) is left, and the next one joined with the state as it is.
 */
export async function runTrainer(trainer: string, jobId: string | undefined, deps: TrainerDeps, signal: AbortSignal): Promise<void> {
  const { work } = deps;
  const engine = await deps.engine();
  let held: HeldState | undefined;
  while (!signal.aborted) {
    const generation = await work.joinTraining(trainer, engine.gradientProfile, held?.jobId ?? jobId, held?.state.step);
    if (generation.kind === "done") {
      if (held === undefined || jobId !== undefined) return;
      held = undefined; // a pool's trainer asks for another job
      continue;
    }
    if (generation.kind === "ask again") {
      held = undefined; // the job stands still or has enough trainers: its checkpoint has the state, and a pool's trainer is free for others
      continue;
    }
    const member: Member = { jobId: generation.jobId, trainer, generation: generation.generation };
    const before = held?.jobId === generation.jobId ? held.state : undefined;
    let state: TrainingState | undefined;
    try {
      await trainInGeneration(member, generation, before, (whole) => (state = whole), deps, engine, signal);
    } catch (error) {
      if (error instanceof MissingFeatures) {
        await work.reportMissingFeatures(member, error.imageIds);
      } else if (error instanceof CodedError && error.code === "EXCHANGE_INCOMPLETE") {
        await ifHeard(work.reportStall(member, state?.step ?? generation.startStep, error.details["missing"] as string[]));
      } else if (!(error instanceof CodedError && error.code === "GENERATION_STALE")) {
        if (!signal.aborted) await deps.onFailure?.(member, error);
        throw error;
      }
    }
    held = state && { jobId: generation.jobId, state };
  }
}

/** For words that training does not depend on: it goes on while the coordinator is away. */
async function ifHeard(words: Promise<unknown>): Promise<void> {
  await words.catch((error: unknown) => {
    if (!(error instanceof CodedError && error.code === "SERVER_UNAVAILABLE")) throw error;
  });
}

/** `hold` is told of the state as soon as it is whole; it stays whole however this ends. */
async function trainInGeneration(
  member: Member,
  generation: Generation,
  before: TrainingState | undefined,
  hold: (state: TrainingState) => void,
  deps: TrainerDeps,
  engine: Engine,
  stop: AbortSignal,
): Promise<void> {
  const { work, clock, milestone } = deps;
  const { trainer } = member;
  const rank = generation.trainers.indexOf(trainer);
  assert(rank >= 0, `trainer ${trainer} is no member of generation ${String(generation.generation)}`);

  // 1. What to train, and on what.
  const job = new JobObjects(deps.store, generation.jobId);
  const facts = await readFacts(job);
  const features = await deps.openFeatures(facts.plan);
  const backbone = await deps.backbones.find(facts.plan.backbone.name, facts.plan.backbone.digest);
  const cut = cutBackbone(facts.record.job, backbone.backbone);
  const plan = planTraining(facts.record.job, cut, facts.samples);
  const { startStep, stateWriter } = generation;
  const state = before?.step === startStep ? before : new TrainingState(plan);
  const pace = new Pace(clock, startStep);
  let computed = 0;
  const signs = new LifeSigns(member, work, clock, () => pace.report(Math.max(state.step, startStep), plan, computed));
  const signal = AbortSignal.any([stop, signs.generationEnded]);
  const opened: (() => Promise<void> | void)[] = [() => deps.onGeneration?.(member, computed), () => signs.close()];
  try {
    if (state === before) hold(state);

    // 2. The state to start from: the one at hand, that of a checkpoint, or the initial one.
    const checkpoints = new Checkpoints(job, plan, milestone);
    if (state !== before) {
      if (startStep === 0) initializeState(state, plan, facts.record.job, backbone, await initialWeights(job, facts.plan));
      else {
        if (stateWriter !== undefined && !(await checkpoints.await(startStep, clock, limits.exchangeDeadlineMs, signal)))
          throw new CodedError("EXCHANGE_INCOMPLETE", `the state after step ${String(startStep)} did not come from ${stateWriter}`, {
            missing: [stateWriter],
          });
        if (!(await checkpoints.restore(state, startStep))) return;
      }
    } else if (stateWriter === trainer) {
      await checkpoints.save(state);
      await ifHeard(work.commitCheckpoint(member, startStep));
    }
    hold(state);

    // 3. The rows, then the training. Lanes may take minutes to make.
    const set = await deps.loadTrainingSet(job, facts.samples, features, plan, signal);
    const place = { rank, trainers: generation.trainers.length };
    const source = rowSourceOf(plan, set, deps.openLanes(features, facts.plan));
    await source.prepare(place, signal);
    const exchange =
      place.trainers === 1
        ? undefined
        : new Exchange(
            // Whose lanes are ready waits for those who still make theirs; who is lost is noticed by its silence.
            { ...deps, deadlineMs: plan.streaming === undefined ? limits.exchangeDeadlineMs : limits.lanesDeadlineMs },
            channelOf(generation, rank, deps.bus),
            generation.trainers,
            plan.grains,
            plan.layout.length + counters(plan),
            state.step,
          );
    opened.push(() => exchange?.close());
    const batches = await source.openBatches(place, signal);
    opened.push(() => batches.close());
    const nodes = exchange?.ownNodes ?? alignedSubTrees(0, plan.grains);
    const grains = await OwnGrains.open(plan, nodes, batches.order, batches.rows, engine, state.optimizer.sums, true);
    opened.push(() => grains.release());
    const evaluation = await engine.compileEvaluation(trainableOf(plan), plan.evaluationRows);
    opened.push(() => evaluation.release());
    const evaluator = new Evaluator(plan, source.split("validation", signal), evaluation, clock, place);
    const outcome = await train(
      { plan, state, grains, evaluator, exchange },
      {
        onStep: () => {
          pace.stepped(state.step);
          computed = grains.computed;
          signs.step();
        },
        onEvaluation: async () => {
          const point = state.history.at(-1);
          assert(point !== undefined);
          if (rank === 0) await ifHeard(work.reportEvaluation(member, point));
        },
        saveCheckpoint: async () => {
          if (rank !== 0) return;
          await checkpoints.save(state);
          await ifHeard(work.commitCheckpoint(member, state.step));
        },
        milestone,
      },
      signal,
    );
    await signs.tell();
    if (outcome === "interrupted") {
      // The others need not wait for the deadline to go on without this one.
      if (generation.trainers.length > 1) await ifHeard(work.reportStall(member, state.step, [trainer]));
      return;
    }
    if (rank !== 0) {
      // Should the first trainer be lost before the result stands, another one of this generation does it.
      await aborted(signal);
      return;
    }

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

function channelOf(generation: Generation, self: number, { payloadBytesMax }: GradientBus): Channel {
  const { jobId, trainers, key } = generation;
  return { job: jobId, generation: generation.generation, trainers: trainers.length, self, key, messageBytes: payloadBytesMax };
}

/** How fast the training goes, measured without its first steps, which load caches. */
class Pace {
  private readonly clock: Clock;
  private readonly firstStep: number;
  private warm: { readonly step: number; readonly ms: number } | undefined;
  private latest: { readonly step: number; readonly ms: number } | undefined;

  constructor(clock: Clock, firstStep: number) {
    this.clock = clock;
    this.firstStep = firstStep;
  }

  stepped(step: number): void {
    const ms = this.clock.monotonic();
    if (step - this.firstStep === WARM_UP_STEPS) this.warm = { step, ms };
    this.latest = { step, ms };
  }

  /** Wall time a step, evaluations and checkpoints included; null before the warm-up is over. */
  get millisecondsPerStep(): number | null {
    const { warm, latest } = this;
    return warm === undefined || latest === undefined || latest.step === warm.step
      ? null
      : (latest.ms - warm.ms) / (latest.step - warm.step);
  }

  report(step: number, plan: TrainingPlan, grainsComputed: number): StepReport {
    return { step, steps: plan.steps, millisecondsPerStep: this.millisecondsPerStep, grainsComputed };
  }
}

const WARM_UP_STEPS = 5;

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
