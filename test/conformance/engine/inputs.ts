import { elementCount, type Network, type Weights } from "../../../domain/network/network.js";
import { layerShapes, weightSpecs } from "../../../domain/network/shapes.js";
import { parameterLayout, type ParameterLayout, statisticsLayout } from "../../../domain/training/parameters.js";
import type { GradientInput, GradientShape, Trainable } from "../../../platform/engine/engine.js";

/** Uniform in [-1, 1), the same on every machine. */
export function randoms(length: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Weights that keep activations of a sensible size: gammas from 1 to 3, variances from 0.5 to 1.5. */
export function randomWeights(network: Network, seed: number): Weights {
  return new Map(
    weightSpecs(network).map(({ name, shape }, i) => {
      const data = randoms(elementCount(shape), seed * 1000 + i);
      const inputs = elementCount(name.endsWith("/depthwise_kernel") ? shape.slice(0, 2) : shape.slice(0, -1));
      const scale = 1 / Math.sqrt(Math.max(1, inputs));
      const each = (value: number): number =>
        name.endsWith("variance") ? Math.abs(value) + 0.5 : name.endsWith("gamma") ? value + 2 : value * 2 * scale;
      return [name, { shape, data: data.map(each) }];
    }),
  );
}

/** Random features (pixels where the network takes them), labels, masks and class weights. The last row of every other grain, from the first on, is padding. */
export function gradientInput(trainable: Trainable, { grains, grainRows }: GradientShape, seed: number): GradientInput {
  const { network, loss, preprocessing } = trainable;
  const rows = grains * grainRows;
  const weights = randomWeights(network, seed);
  const shapes = layerShapes(network);
  const classes = loss.kind === "sigmoid" ? 2 : elementCount(shapes.get(network.output) ?? []);
  const features = randoms(rows * elementCount(network.inputShape), seed + 1);
  const isPadding = (row: number): boolean => row % (2 * grainRows) === grainRows - 1;
  return {
    parameters: vectorOf(parameterLayout(network), weights),
    statistics: vectorOf(statisticsLayout(network), weights),
    features: preprocessing ? Uint8Array.from(features, (value) => (value + 1) * 128) : features.map((value) => value * 3),
    labels: Int32Array.from(randoms(rows, seed + 2), (value) => Math.floor(((value + 1) / 2) * classes)),
    rowWeights: Float32Array.from({ length: rows }, (_, row) => (isPadding(row) ? 0 : 0.5 + (row % 3) * 0.5)),
    dropoutMasks: network.layers
      .filter((layer) => layer.kind === "dropout")
      .map((layer, i) =>
        randoms(rows * elementCount(shapes.get(layer.name) ?? []), seed + 3 + i).map((value) => (value > 0 ? 1 / (1 - layer.rate) : 0)),
      ),
  };
}

function vectorOf(layout: ParameterLayout, weights: Weights): Float32Array {
  const vector = new Float32Array(layout.length);
  for (const { name, offset } of layout.entries) vector.set(weights.get(name)?.data ?? [], offset);
  return vector;
}
