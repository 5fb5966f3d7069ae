import { createHash } from "node:crypto";
import { cosPi, exactExp, exactLog, sinPi } from "../../domain/exact-math.js";
import { drawView } from "../../domain/features/views.js";
import type { Optimizer, Schedule } from "../../domain/job/job.js";
import { permutation, randomKey, RandomStream } from "../../domain/random.js";
import { GrainInput } from "../../domain/training/grains.js";
import { initializeParameters } from "../../domain/training/initialize.js";
import { OptimizerState } from "../../domain/training/optimizer.js";
import type { ParameterLayout } from "../../domain/training/parameters.js";
import { classBalancedOrder, shuffledOrder } from "../../domain/training/sample-order.js";
import { learningRateAt } from "../../domain/training/schedule.js";

/** Digests of everything in `domain` that decides bits, to be equal on every machine and Node version (bits.json). */
export function bitDigests(): Record<string, string> {
  const digests: Record<string, string> = {};

  const stream = new RandomStream(randomKey(42, "golden"), 7, 3);
  digests["uint32"] = digest(Uint32Array.from({ length: 10_000 }, () => stream.uint32()));
  digests["uniform"] = digest(Float64Array.from({ length: 10_000 }, () => stream.uniform()));
  digests["below"] = digest(Float64Array.from({ length: 10_000 }, (_, i) => stream.below(i + 1)));
  digests["normal"] = digest(Float64Array.from({ length: 10_000 }, () => stream.normal()));
  digests["truncatedNormal"] = digest(Float64Array.from({ length: 10_000 }, () => stream.truncatedNormal()));
  digests["permutation"] = digest(permutation(new RandomStream(randomKey(42, "golden"), 1), new Uint32Array(100_000)));
  digests["exactMath"] = digest(
    Float64Array.from(
      { length: 40_000 },
      (_, i) => [exactLog((i + 1) / 999), exactExp((i - 20_000) / 97), cosPi(i / 997), sinPi(i / 997)][i % 4] as number,
    ),
  );

  digests["views"] = digest(Float64Array.from(viewNumbers()));

  const order = shuffledOrder(42, 1_003, 96);
  digests["shuffledOrder"] = digest(...Array.from({ length: 40 }, (_, step) => order.batch(step).slice()));
  const labels = Int32Array.from({ length: 1_003 }, (_, row) => (row % 7) % 5);
  const balanced = classBalancedOrder(42, labels, 5, 96);
  digests["classBalancedOrder"] = digest(...Array.from({ length: 40 }, (_, step) => balanced.batch(step).slice()));

  const input = new GrainInput(
    { batchSize: 96, grains: 8, callGrains: 8, seed: 42, dropout: [{ name: "head/dropout_1", units: 33, rate: 0.2 }] },
    { views: [new Float32Array(1_003)], featureLength: 1, labels, classWeights: new Float32Array(5).fill(1) },
  );
  input.fill(11, order.batch(11), 0);
  digests["dropout"] = digest(...input.dropoutMasks);

  for (const [name, schedule] of Object.entries(schedules))
    digests[`schedule ${name}`] = digest(Float64Array.from({ length: 1_000 }, (_, step) => learningRateAt(schedule, 0.01, step, 1_000)));

  for (const kind of ["glorotUniform", "truncatedNormal"] as const) {
    const vector = new Float32Array(layout.length);
    initializeParameters(vector, layout, { kind, stddev: 0.05 }, 42);
    digests[`initial ${kind}`] = digest(vector);
  }
  for (const [name, optimizer] of Object.entries(optimizers)) digests[`optimizer ${name}`] = digest(...trained(optimizer));
  return digests;
}

/** What is drawn for 200 views of pictures of different aspects, with each crop. */
function* viewNumbers(): Generator<number> {
  const others = {
    horizontalFlip: true,
    verticalFlip: true,
    rotation: { maxDegrees: 40 },
    shift: { maxWidth: 0.2, maxHeight: 0.1 },
    zoom: { min: 0.8, max: 1.2 },
    color: { brightness: 0.4, contrast: 0.3, saturation: 0.2 },
  };
  const crops = [
    { randomResizedCrop: { minScale: 0.08, maxScale: 1, minAspect: 0.75, maxAspect: 1.3333 } },
    { randomCrop: { marginPercent: 10, scalePercent: 20 } },
  ];
  for (let view = 1; view <= 200; view++) {
    for (const crop of crops) {
      const draw = drawView({ ...crop, ...others }, "5e".repeat(32), view, { width: 100 + 3 * view, height: 400 });
      const { window, movement, flippedHorizontally, flippedVertically, color } = draw;
      yield* Object.values({ ...window, ...movement?.shift, degrees: movement?.degrees ?? NaN, ...color });
      yield* [movement?.zoom.x ?? NaN, movement?.zoom.y ?? NaN, Number(flippedHorizontally), Number(flippedVertically)];
    }
  }
}

const schedules: Record<string, Schedule> = {
  constant: { kind: "constant", warmupSteps: 0 },
  warmup: { kind: "constant", warmupSteps: 77 },
  cosine: { kind: "cosine", finalFraction: 0.1, warmupSteps: 50 },
  step: { kind: "step", everySteps: 30, factor: 0.9, warmupSteps: 0 },
  exponential: { kind: "exponential", decaySteps: 100, rate: 0.96, warmupSteps: 10 },
};

const moments = { learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };
const optimizers: Record<string, Optimizer> = {
  sgd: { kind: "sgd", learningRate: 0.01, momentum: 0, nesterov: false },
  momentum: { kind: "sgd", learningRate: 0.01, momentum: 0.9, nesterov: false },
  nesterov: { kind: "sgd", learningRate: 0.01, momentum: 0.9, nesterov: true },
  rmsprop: { kind: "rmsprop", learningRate: 0.001, decay: 0.9, momentum: 0, epsilon: 1e-7 },
  "rmsprop momentum": { kind: "rmsprop", learningRate: 0.001, decay: 0.9, momentum: 0.5, epsilon: 1e-7 },
  adam: { kind: "adam", ...moments },
  adamw: { kind: "adamw", ...moments },
};

const layout: ParameterLayout = {
  entries: [
    { name: "block/conv/kernel", shape: [3, 3, 4, 5], offset: 0, length: 180 },
    { name: "head/output/bias", shape: [11], offset: 180, length: 11 },
    { name: "head/output/kernel", shape: [37, 11], offset: 191, length: 407 },
  ],
  length: 598,
};

/** Parameters and slots after 200 steps with decay, an exempt pattern and a multiplier; gradients from the random generator. */
function trained(optimizer: Optimizer): Float32Array[] {
  const state = new OptimizerState(
    { optimizer, weightDecay: 0.01, weightDecayExempt: ["*/bias"], learningRateMultipliers: [{ layers: "head/*", factor: 10 }] },
    layout,
  );
  initializeParameters(state.parameters, layout, { kind: "glorotUniform" }, 42);
  const stream = new RandomStream(randomKey(42, "gradient"));
  for (let step = 0; step < 200; step++) {
    for (let i = 0; i < layout.length; i++) state.gradient[i] = stream.normal();
    state.update(step, optimizer.learningRate, 1 / 96);
  }
  return [state.parameters, ...state.slots.values()];
}

function digest(...arrays: readonly (Uint32Array | Float32Array | Float64Array)[]): string {
  const hash = createHash("sha256");
  for (const array of arrays) hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return hash.digest("hex");
}
