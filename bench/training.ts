import { resolveJob } from "../domain/job/resolve.js";
import type { OptimizerSpec } from "../domain/job/spec.js";
import type { TrainingRows } from "../domain/training/grains.js";
import { initializeParameters } from "../domain/training/initialize.js";
import { shuffledOrder } from "../domain/training/sample-order.js";
import { planTraining, type TrainingPlan } from "../domain/training/training-plan.js";
import { alignedSubTrees } from "../domain/training/tree.js";
import { systemClock } from "../platform/clock/system.js";
import type { Engine } from "../platform/engine/engine.js";
import { openEngine } from "../platform/engine/engines.js";
import { Evaluator } from "../services/trainer/evaluator.js";
import { OwnGrains, trainableOf } from "../services/trainer/own-grains.js";
import { train } from "../services/trainer/train-loop.js";
import { TrainingState } from "../services/trainer/training-state.js";
import { featureCut } from "../test/support/feature-cut.js";
import { type Figure, type Measure, median } from "./figure.js";

const FEATURES = 1280;
const CLASSES = 102;
const ROWS_PER_CLASS = 10;
const STEPS = 3_000;
const WARM_UP_STEPS = 100;

/** Steps of a head on pooled MobileNetV2 features through the loop that trains every job: one trainer, batch 96 in 8 grains. */
export const measureTraining: Measure = async ({ rounds }, say) => {
  const engine = await openEngine("onnx");
  const optimizers: Record<string, OptimizerSpec> = { "sgd, momentum": { sgd: { learningRate: 0.01, momentum: 0.9 } }, adam: { adam: {} } };
  const figures: Figure[] = [];
  for (const [name, optimizer] of Object.entries(optimizers)) {
    const plan = planOf(optimizer);
    const means: number[] = [];
    const medians: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const steps = await millisecondsOfSteps(plan, engine);
      means.push(steps.reduce((sum, step) => sum + step, 0) / steps.length);
      medians.push(median(steps));
      say(
        `training, ${name}, round ${round + 1} of ${rounds}: ${means.at(-1)!.toFixed(3)} ms a step, its median ${medians.at(-1)!.toFixed(3)}`,
      );
    }
    const note = `${FEATURES} -> ${CLASSES}, batch ${plan.batchSize} in ${plan.grains} grains, ${STEPS} steps, median of ${rounds}`;
    figures.push({ row: "training", name: `step, ${name}`, value: median(means), unit: "ms", wanted: { atMost: 1.2 }, note });
    figures.push({
      row: "training",
      name: `half of its steps, ${name}`,
      value: median(medians),
      unit: "ms",
      note: "at most; without what other programs take",
    });
  }
  figures.push({
    row: "training",
    name: "gradient call alone",
    value: await millisecondsPerGradient(planOf({ adam: {} }), engine),
    unit: "ms",
    note: "half of its calls, at most",
  });
  return figures;
};

function planOf(optimizer: OptimizerSpec): TrainingPlan {
  const job = resolveJob({
    dataset: { source: "bench" },
    training: { steps: STEPS, batchSize: 96, grains: 8, evaluateEverySteps: STEPS, optimizer },
  });
  const none = Array<number>(CLASSES).fill(0);
  const classes = none.map((_, index) => `class ${index}`);
  return planTraining(job, featureCut([FEATURES]), {
    classes,
    counts: { train: none.map(() => ROWS_PER_CLASS), validation: none, test: none },
  });
}

async function millisecondsOfSteps(plan: TrainingPlan, engine: Engine): Promise<number[]> {
  const rows = randomRows(plan);
  const state = initialState(plan);
  const grains = await openGrains(plan, rows, engine, state);
  const evaluation = await engine.compileEvaluation(trainableOf(plan), plan.evaluationRows);
  const none = { rows: 0, labels: new Int32Array(0), read: async (): Promise<void> => undefined };
  const evaluator = new Evaluator(plan, none, evaluation, systemClock, { rank: 0, trainers: 1 });
  const times: number[] = [];
  let lastMs = 0;
  const onStep = async (): Promise<void> => {
    const nowMs = performance.now();
    if (state.step > WARM_UP_STEPS) times.push(nowMs - lastMs);
    lastMs = nowMs;
  };
  const nothing = async (): Promise<void> => undefined;
  const hooks = { onStep, onEvaluation: nothing, saveCheckpoint: nothing, milestone: () => undefined };
  try {
    await train({ plan, state, grains, evaluator, exchange: undefined }, hooks, new AbortController().signal);
  } finally {
    await grains.release();
    await evaluation.release();
  }
  return times;
}

/** The engine's part of a step, with the gathering of its rows. */
async function millisecondsPerGradient(plan: TrainingPlan, engine: Engine): Promise<number> {
  const state = initialState(plan);
  const grains = await openGrains(plan, randomRows(plan), engine, state);
  const times: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const start = performance.now();
    await grains.sums(step, state.parameters, state.statistics);
    if (step >= WARM_UP_STEPS) times.push(performance.now() - start);
  }
  await grains.release();
  return median(times);
}

function openGrains(plan: TrainingPlan, rows: TrainingRows, engine: Engine, state: TrainingState): Promise<OwnGrains> {
  return OwnGrains.open(
    plan,
    alignedSubTrees(0, plan.grains),
    shuffledOrder(plan.recipe.seed, plan.trainRows, plan.batchSize),
    rows,
    engine,
    state.optimizer.sums,
    true,
  );
}

function initialState(plan: TrainingPlan): TrainingState {
  const state = new TrainingState(plan);
  initializeParameters(state.parameters, plan.layout, { kind: "glorotUniform" }, plan.recipe.seed);
  return state;
}

function randomRows(plan: TrainingPlan): TrainingRows {
  let seed = 1;
  const random = (): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return {
    views: [Float32Array.from({ length: plan.trainRows * FEATURES }, random)],
    featureLength: FEATURES,
    labels: Int32Array.from({ length: plan.trainRows }, (_, row) => row % CLASSES),
    classWeights: plan.classWeights,
  };
}
