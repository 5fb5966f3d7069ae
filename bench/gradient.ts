import { headNetwork } from "../domain/network/compose.js";
import { elementCount } from "../domain/network/network.js";
import { parameterLayout } from "../domain/training/parameters.js";
import { openEngine } from "../platform/engine/engines.js";

/** Time of one gradient call, JavaScript included, without the optimiser: `node dist/bench/gradient.js [FEATURES CLASSES BATCH GRAINS STEPS]`. */
const [features = 1280, classes = 102, batch = 96, grains = 8, steps = 3000] = process.argv.slice(2).map(Number);
const warmUpSteps = 50;

const engine = await openEngine("onnx");
const network = headNetwork([features], [], classes);
const layout = parameterLayout(network);
const grainRows = Math.ceil(batch / grains);
const rows = grains * grainRows;
let state = 1;
const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
const input = {
  parameters: Float32Array.from({ length: layout.length }, () => random() * 0.1 - 0.05),
  features: Float32Array.from({ length: rows * elementCount(network.inputShape) }, random),
  labels: Int32Array.from({ length: rows }, () => Math.floor(random() * classes)),
  rowWeights: new Float32Array(rows).fill(1),
  dropoutMasks: [],
};

for (const grainsOfCall of [grains, grains / 2, 1].filter((count) => count >= 1)) {
  const gradient = await engine.compileGradient(
    network,
    { kind: classes === 1 ? "sigmoid" : "softmax", labelSmoothing: 0 },
    { grainRows, grains: grainsOfCall },
  );
  const share = grainsOfCall / grains;
  const part = { ...input, features: input.features.subarray(0, input.features.length * share) };
  const labels = input.labels.slice(0, rows * share);
  const rowWeights = input.rowWeights.slice(0, rows * share);
  const times: number[] = [];
  for (let step = -warmUpSteps; step < steps; step++) {
    const start = performance.now();
    labels[step & 1] = (step >>> 1) % classes;
    await gradient.run({ ...part, labels, rowWeights });
    if (step >= 0) times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  const [minimum = NaN, median = NaN, high = NaN] = [times[0], times[times.length >> 1], times[Math.floor(times.length * 0.95)]];
  console.log(
    `${features} -> ${classes}, ${grainsOfCall} grains of ${grainRows} rows in one call: minimum ${minimum.toFixed(3)} ms, median ${median.toFixed(3)} ms, 95 % ${high.toFixed(3)} ms`,
  );
  await gradient.release();
}
