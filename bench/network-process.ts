import { CodedError } from "../domain/errors.js";
import type { FeatureArray, TrainingRows } from "../domain/training/grains.js";
import { type ParameterLayout, tensorsOf } from "../domain/training/parameters.js";
import { shuffledOrder } from "../domain/training/sample-order.js";
import { checkTrainable } from "../domain/training/trainable-layers.js";
import type { TrainingPlan } from "../domain/training/training-plan.js";
import { openEngine } from "../platform/engine/engines.js";
import type { Engine } from "../platform/engine/engine.js";
import type { Evaluator } from "../services/trainer/evaluator.js";
import { OwnGrains } from "../services/trainer/own-grains.js";
import { train } from "../services/trainer/train-loop.js";
import { TrainingState } from "../services/trainer/training-state.js";
import { madeUpTensor, uniform } from "../test/golden/made-up-weights.js";
import { median } from "./figure.js";
import { isNetworkName, planNetwork } from "./network-jobs.js";

/**
 * Steps of one network through the loop that trains every job, one trainer: `node network-process.js NETWORK GRAINS THREADS SECONDS [ENGINE]`, GRAINS 0 for as many as a job has by
 * itself. Prints `NetworkTimes`.
 */
const WARM_UP_STEPS = 4;
const STEPS_MIN = 5;
const STEPS_MAX = 5_000;

export type NetworkTimes =
  | { readonly milliseconds: number; readonly minimum: number; readonly steps: number; readonly grains: number; readonly batch: number }
  | { readonly unmeasured: string };

const [network, grainsText = "0", threads = "2", seconds = "20", engineName = "onnx"] = process.argv.slice(2);
if (!isNetworkName(network)) throw new Error(`no network is named ${String(network)}`);
const { cut, plan } = planNetwork(network, { grains: Number(grainsText) || undefined, steps: WARM_UP_STEPS + STEPS_MAX + 1 });
console.log(JSON.stringify(await measured()));

async function measured(): Promise<NetworkTimes> {
  try {
    checkTrainable(engineName, cut);
    const times = await millisecondsOfSteps(plan, await openEngine(engineName, { threads: Number(threads) }), Number(seconds));
    const { batchSize: batch, grains } = plan;
    return { milliseconds: median(times), minimum: Math.min(...times), steps: times.length, grains, batch };
  } catch (error) {
    if (error instanceof CodedError && error.code === "ENGINE_UNSUPPORTED") return { unmeasured: error.message };
    throw error;
  }
}

/** From the end of a step to the end of the next, until the time is over. */
async function millisecondsOfSteps(plan: TrainingPlan, engine: Engine, seconds: number): Promise<number[]> {
  const state = new TrainingState(plan);
  fill(plan.layout, state.parameters);
  fill(plan.statisticsLayout, state.statistics);
  const order = shuffledOrder(plan.recipe.seed, plan.trainRows, plan.batchSize);
  const nodes = [{ first: 0, grains: plan.grains }];
  const grains = await OwnGrains.open(plan, nodes, order, rowsOf(plan), engine, state.optimizer.sums, true);
  const times: number[] = [];
  const enough = new AbortController();
  let startMs = 0;
  let lastMs = 0;
  const onStep = (): void => {
    const nowMs = performance.now();
    if (state.step === WARM_UP_STEPS) startMs = nowMs;
    if (state.step > WARM_UP_STEPS) times.push(nowMs - lastMs);
    lastMs = nowMs;
    const isLongEnough = nowMs - startMs >= seconds * 1000 && times.length >= STEPS_MIN;
    if (isLongEnough || times.length === STEPS_MAX) enough.abort();
  };
  const nothing = async (): Promise<void> => undefined;
  const hooks = { onStep, onEvaluation: nothing, saveCheckpoint: nothing, milestone: () => undefined };
  // Ends before the first evaluation.
  const evaluator = undefined as unknown as Evaluator;
  try {
    await train({ plan, state, grains, evaluator, exchange: undefined }, hooks, enough.signal);
  } finally {
    await grains.release();
  }
  return times;
}

/** Weights with which activations and gradients are of a sensible size: with tiny ones, numbers become denormal, which are slow. */
function fill(layout: ParameterLayout, vector: Float32Array): void {
  for (const [name, { shape, data }] of tensorsOf(layout, vector)) data.set(madeUpTensor(name, shape).data);
}

function rowsOf({ trainRows, featureLength, classes, classWeights, preprocessing }: TrainingPlan): TrainingRows {
  const count = trainRows * featureLength;
  const values = uniform("rows", count, (value) => (value + 1) / 2);
  const features: FeatureArray = preprocessing ? Uint8Array.from(values, (value) => value * 255) : values;
  const labels = Int32Array.from({ length: trainRows }, (_, row) => Math.floor((row * classes.length) / trainRows));
  return { views: [features], featureLength, labels, classWeights };
}
