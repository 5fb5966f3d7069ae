import { elementCount, INPUT, type Network, type Shape } from "../../domain/network/network.js";
import { layerShapes } from "../../domain/network/shapes.js";
import type { LossSpec } from "../../domain/training/loss.js";
import { parameterLayout, statisticsLayout, type ParameterLayout } from "../../domain/training/parameters.js";
import type { GradientInput, Trainable } from "../../platform/engine/engine.js";
import { type Activations, moments, referenceActivations, referencePixels, type TrainingMode } from "./reference-network.js";

/** What engines answer, in float64. */
export interface ReferenceSums {
  readonly loss: number;
  readonly correct: number;
  /** With BATCH: rows x batch mean and rows x batch variance, laid out by `statisticsLayout`. */
  readonly statistics: Float64Array;
  /** By layer name, of all rows of the call. */
  readonly activations: Activations;
}

/** Unweighted loss of one row of logits. */
export function referenceLoss(logits: ArrayLike<number>, label: number, loss: LossSpec): number {
  const scores = scoresOf(logits, loss);
  const largest = Math.max(...scores);
  const logSum = largest + Math.log(scores.reduce((sum, z) => sum + Math.exp(z - largest), 0));
  return scores.reduce(
    (sum, z, column) => sum - ((column === label ? 1 - loss.labelSmoothing : 0) + loss.labelSmoothing / scores.length) * (z - logSum),
    0,
  );
}

/** A training step's sums over all grains of a call, each computed by itself. */
export function referenceSums(trainable: Trainable, input: GradientInput, grainRows: number): ReferenceSums {
  const weights = weightsOf(trainable.network, input);
  const grains = grainsOf(trainable, input, grainRows);
  const activations = grains.map((grain) => referenceActivations(trainable.network, weights, grain.rows, grain.mode));
  const logits = activations.flatMap((grain) => grain.get(trainable.network.output) ?? []);
  const isCorrect = (row: Float64Array, i: number): boolean => {
    const scores = scoresOf(row, trainable.loss);
    return input.rowWeights[i] !== 0 && scores.indexOf(Math.max(...scores)) === input.labels[i];
  };
  return {
    loss: grains.reduce((sum, grain, i) => sum + grainLoss(trainable, grain, activations[i] as Activations), 0),
    correct: logits.filter(isCorrect).length,
    statistics: trainable.batchNorm === "FROZEN" ? new Float64Array(0) : batchStatistics(trainable.network, grains, activations),
    activations: new Map([...trainable.network.layers].map(({ name }) => [name, activations.flatMap((grain) => grain.get(name) ?? [])])),
  };
}

/** The gradient of the sum of losses by central differences, one parameter after another. */
export function referenceGradient(trainable: Trainable, input: GradientInput, grainRows: number): Float64Array {
  // Float64 has some 16 digits: a step of 1e-6 leaves 9 of the slope, and hardly ever steps over the kink of a relu or to another maximum.
  const step = 1e-6;
  const { network } = trainable;
  const weights = weightsOf(network, input);
  const grains = grainsOf(trainable, input, grainRows);
  const activations = grains.map((grain) => referenceActivations(network, weights, grain.rows, grain.mode));
  const layout = parameterLayout(network);
  const gradient = new Float64Array(layout.length);
  for (const { name, offset, length } of layout.entries) {
    const changed = dependents(network, name.slice(0, name.lastIndexOf("/")));
    const known = activations.map((grain): Activations => new Map([...grain].filter(([layer]) => !changed.has(layer))));
    const loss = (): number =>
      grains.reduce(
        (sum, grain, i) => sum + grainLoss(trainable, grain, referenceActivations(network, weights, grain.rows, grain.mode, known[i])),
        0,
      );
    const { data } = weights.get(name) as { data: Float64Array };
    for (let i = 0; i < length; i++) {
      const value = data[i] as number;
      data[i] = value + step;
      const above = loss();
      data[i] = value - step;
      const below = loss();
      data[i] = value;
      gradient[offset + i] = (above - below) / (2 * step);
    }
  }
  return gradient;
}

interface Grain {
  readonly rows: readonly Float64Array[];
  readonly labels: Int32Array;
  readonly rowWeights: Float32Array;
  readonly mode: TrainingMode;
}

function grainsOf({ network, batchNorm, preprocessing }: Trainable, input: GradientInput, grainRows: number): Grain[] {
  const width = elementCount(network.inputShape);
  const dropouts = network.layers.filter((layer) => layer.kind === "dropout");
  const rowsOf = <T extends ArrayLike<number>>(
    whole: T & { subarray(from: number, to: number): T },
    from: number,
    rowLength: number,
  ): T[] => Array.from({ length: grainRows }, (_, row) => whole.subarray((from + row) * rowLength, (from + row + 1) * rowLength));
  return Array.from({ length: input.labels.length / grainRows }, (_, grain) => {
    const from = grain * grainRows;
    const { features } = input;
    const rows =
      features instanceof Uint8Array && preprocessing !== undefined
        ? rowsOf(features, from, width).map((row) => referencePixels(row, preprocessing))
        : rowsOf(Float64Array.from(features), from, width);
    const rowWeights = input.rowWeights.subarray(from, from + grainRows);
    const masks = input.dropoutMasks.map((mask, i): [string, Float32Array[]] => [
      dropouts[i]?.name ?? "",
      rowsOf(mask, from, mask.length / input.labels.length),
    ]);
    const counted = batchNorm === "BATCH" ? Array.from(rowWeights, (weight) => weight > 0) : undefined;
    return { rows, labels: input.labels.subarray(from, from + grainRows), rowWeights, mode: { masks: new Map(masks), counted } };
  });
}

function grainLoss({ network, loss }: Trainable, { labels, rowWeights }: Grain, activations: Activations): number {
  const logits = activations.get(network.output) ?? [];
  return logits.reduce((sum, row, i) => {
    const weight = rowWeights[i] as number;
    return weight === 0 ? sum : sum + weight * referenceLoss(row, labels[i] as number, loss);
  }, 0);
}

function batchStatistics(network: Network, grains: readonly Grain[], activations: readonly Activations[]): Float64Array {
  const layout = statisticsLayout(network);
  const shapes = layerShapes(network);
  const sums = new Float64Array(layout.length);
  const offsetOf = (name: string): number => layout.entries.find((entry) => entry.name === name)?.offset as number;
  for (const layer of network.layers) {
    if (layer.kind !== "batchNorm") continue;
    const input = layer.inputs[0] ?? INPUT;
    const channels = (shapes.get(input) as Shape).at(-1) as number;
    grains.forEach(({ mode }, i) => {
      const counted = mode.counted as readonly boolean[];
      const count = counted.filter(Boolean).length;
      const { mean, variance } = moments(activations[i]?.get(input) ?? [], counted, channels);
      for (const [name, values] of [["moving_mean", mean] as const, ["moving_variance", variance] as const]) {
        const offset = offsetOf(`${layer.name}/${name}`);
        values.forEach((value, c) => (sums[offset + c] = (sums[offset + c] as number) + count * value));
      }
    });
  }
  return sums;
}

/** Parameters and moving statistics by name, copied to float64. */
function weightsOf(
  network: Network,
  input: Pick<GradientInput, "parameters" | "statistics">,
): Map<string, { readonly data: Float64Array }> {
  const tensors = (layout: ParameterLayout, vector: Float32Array): [string, { readonly data: Float64Array }][] =>
    layout.entries.map(({ name, offset, length }) => [name, { data: Float64Array.from(vector.subarray(offset, offset + length)) }]);
  return new Map([...tensors(parameterLayout(network), input.parameters), ...tensors(statisticsLayout(network), input.statistics)]);
}

/** A layer and all whose activations depend on it. */
function dependents(network: Network, name: string): Set<string> {
  const found = new Set([name]);
  for (const layer of network.layers) if (layer.inputs.some((input) => found.has(input))) found.add(layer.name);
  return found;
}

/** The logits as a softmax sees them: a single sigmoid of z is the softmax of (0, z). */
function scoresOf(logits: ArrayLike<number>, loss: LossSpec): number[] {
  return loss.kind === "sigmoid" ? [0, logits[0] as number] : Array.from(logits);
}
