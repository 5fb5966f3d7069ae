import { strict as assert } from "node:assert";
import { setImmediate as othersRun } from "node:timers/promises";
import { elementCount } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { parameterLayout, statisticsLayout, type ParameterLayout } from "../../../domain/training/parameters.js";
import { isPowerOfTwo } from "../../../domain/training/tree.js";
import type { Gradient, GradientInput, GradientShape, Trainable } from "../engine.js";
import { refuseUntrainable } from "../refuse-untrainable.js";
import { sumRowLosses, Targets } from "../row-sums.js";
import { checkFeatures } from "../check-features.js";
import { chosenRows, countedRows } from "../chosen-rows.js";
import { GrainSums } from "../grain-sums.js";
import { Kernels, type Value } from "./kernels.js";
import { float32 } from "./layer-run.js";
import type { Runtime } from "./load.js";
import { rowLosses } from "./loss.js";
import { differentiate } from "./pass.js";
import { uploadFeatures } from "./pixels.js";
import { targetColumns } from "../target-columns.js";
import { uploadVectors } from "./weights.js";

/** Sums of loss, gradient and statistics over the grains of one call, which run one after another; see `Engine.compileGradient`. */
export function compileGradient({ binding, onGpu }: Runtime, trainable: Trainable, { grainRows, grains }: GradientShape): Gradient {
  refuseUntrainable("tensorflow", trainable);
  const { network, loss, preprocessing } = trainable;
  assert(Number.isInteger(grainRows) && grainRows >= 2, `a grain has at least 2 rows, found ${grainRows}`);
  assert(isPowerOfTwo(grains), `the grains of one call must be a power of two, found ${grains}`);
  const columns = targetColumns(network, loss);
  const shapes = layerShapes(network);
  const layout = parameterLayout(network);
  const movingLayout = statisticsLayout(network);
  const momentsLength = trainable.batchNorm === "BATCH" ? movingLayout.length : 0;
  const dropouts = network.layers.filter(({ kind }) => kind === "dropout").map(({ name }) => ({ name, shape: shapes.get(name) ?? [] }));
  const rows = grains * grainRows;

  const targets = new Targets(rows, columns, loss);
  const rowLoss = new Float32Array(rows);
  const predicted = new Int32Array(rows);
  const gradientSums = new GrainSums(layout.length);
  const momentSums = new GrainSums(momentsLength);
  const moments = new Float32Array(momentsLength);
  let ownGradient: Float32Array | undefined;
  let running = false;

  return {
    async run(input) {
      assert(!running, "one gradient call at a time: its results lie in arrays that are used again");
      checkInput(input);
      const gradient = input.gradient ?? (ownGradient ??= new Float32Array(layout.length));
      targets.write(input.labels, input.rowWeights);
      gradientSums.begin(gradient);
      momentSums.begin(moments);
      const kernels = new Kernels(binding);
      running = true;
      try {
        const weights = uploadVectors(kernels, `gradient of ${network.name}`, [
          ["parameters", layout, input.parameters],
          ["statistics", movingLayout, input.statistics],
        ]);
        for (let grain = 0; grain < grains; grain++) {
          const counted = countedRows(input.rowWeights, grain * grainRows, (grain + 1) * grainRows);
          const [ofGrain, momentsOfGrain] = [gradientSums.next(), momentSums.next()];
          if (counted.length === 0) for (const vector of [ofGrain, momentsOfGrain]) vector.fill(0);
          else runGrain(kernels, weights, input, counted, ofGrain, momentsOfGrain);
          await gradientSums.add();
          await momentSums.add();
          await othersRun(); // a grain of a whole network takes a good part of a second
        }
      } finally {
        running = false;
        kernels.close();
      }
      return { ...sumRowLosses(rowLoss, predicted, input, grains), gradient, statistics: moments };
    },
    async release() {
      ownGradient = undefined;
    },
  };

  /** Gradient and moments of the rows `counted`, which alone enter TensorFlow: padding is in no batch statistics. */
  function runGrain(
    kernels: Kernels,
    weights: ReadonlyMap<string, Value>,
    input: GradientInput,
    counted: readonly number[],
    gradient: Float32Array,
    momentsOfGrain: Float32Array,
  ): void {
    const count = counted.length;
    const masks = new Map(
      dropouts.map(({ name, shape }, i) => {
        const mask = chosenRows(input.dropoutMasks[i] as Float32Array, counted, elementCount(shape));
        return [name, kernels.upload(mask, [count, ...shape])];
      }),
    );
    const features = chosenRows(input.features, counted, elementCount(network.inputShape));
    const keepMoments = (layer: string, mean: Value, variance: Value): void => {
      // The kernel divides the variance by n - 1.
      const values = count * elementCount((shapes.get(layer) ?? []).slice(0, -1));
      writeScaled(movingLayout, `${layer}/moving_mean`, kernels.read(mean), momentsOfGrain, count);
      writeScaled(movingLayout, `${layer}/moving_variance`, kernels.read(variance), momentsOfGrain, (count * (values - 1)) / values);
    };
    const weightedGradient = (logits: Value): Value => {
      const found = rowLosses(kernels, logits, chosenRows(targets.data, counted, columns), loss);
      counted.forEach((row, i) => {
        rowLoss[row] = found.losses[i] as number;
        predicted[row] = found.predicted[i] as number;
      });
      const rowWeights = kernels.upload(chosenRows(input.rowWeights, counted, 1), [count, 1]);
      return kernels.one("Mul", float32, [found.gradient, rowWeights], [found.gradient, rowWeights]);
    };

    const missing = new Map(layout.entries.map((entry) => [entry.name, entry]));
    const batchStatistics = trainable.batchNorm === "BATCH" ? keepMoments : undefined;
    const inputValue = uploadFeatures(kernels, features, [count, ...network.inputShape], preprocessing);
    differentiate(kernels, network, inputValue, { weights, onGpu, masks, batchStatistics }, weightedGradient, (name, value) => {
      const entry = missing.get(name);
      assert(entry !== undefined, `${name} has no place in the gradient, or has it already`);
      gradient.set(kernels.read(value), entry.offset);
      missing.delete(name);
    });
    for (const { offset, length } of missing.values()) gradient.fill(0, offset, offset + length); // weights that do not reach the output
    for (const mask of masks.values()) kernels.release(mask);
  }

  function checkInput({ features, labels, rowWeights, dropoutMasks, gradient }: GradientInput): void {
    const expect = (slot: string, found: number, length: number): void =>
      assert.equal(found, length, `gradient of ${network.name}: ${slot} must hold ${length} values, found ${found}`);
    checkFeatures(network.name, features, rows * elementCount(network.inputShape), preprocessing);
    expect("labels", labels.length, rows);
    expect("rowWeights", rowWeights.length, rows);
    assert.equal(dropoutMasks.length, dropouts.length, `gradient of ${network.name}: one mask per dropout layer`);
    dropouts.forEach(({ name, shape }, i) => expect(`mask of ${name}`, dropoutMasks[i]?.length ?? 0, rows * elementCount(shape)));
    if (gradient !== undefined) expect("gradient", gradient.length, layout.length);
  }
}

function writeScaled(layout: ParameterLayout, name: string, values: Float32Array, vector: Float32Array, factor: number): void {
  const entry = layout.entries.find((each) => each.name === name);
  assert(entry !== undefined, `no statistics named ${name}`);
  for (let i = 0; i < entry.length; i++) vector[entry.offset + i] = (values[i] as number) * factor;
}
