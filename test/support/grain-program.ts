import assert from "node:assert/strict";
import type { GradientProgram } from "../../domain/network/gradient/program.js";
import { parameterLayout, type ParameterLayout, statisticsLayout } from "../../domain/training/parameters.js";
import type { LossSpec } from "../../domain/training/loss.js";
import type { GradientInput, Trainable } from "../../platform/engine/engine.js";
import { evaluateProgram } from "./reference-program.js";

/** What a program says of one grain, in float64. */
export interface GrainResults {
  readonly activations: ReadonlyMap<string, Float64Array>;
  readonly gradients: ReadonlyMap<string, Float64Array>;
  /** Means and variances laid out by `statisticsLayout`. */
  readonly moments: readonly number[];
}

/** Runs a program of the trainable's network on an engine's input of one grain. */
export function runOnGrain(program: GradientProgram, trainable: Trainable, input: GradientInput, rows: number): GrainResults {
  const { network, loss, batchNorm } = trainable;
  const dropouts = network.layers.filter(({ kind }) => kind === "dropout");
  const tensors = (layout: ParameterLayout, vector: Float32Array): [string, { readonly data: Float32Array }][] =>
    layout.entries.map(({ name, offset, length }) => [name, { data: vector.subarray(offset, offset + length) }]);
  const values = evaluateProgram(program, {
    rows,
    features: input.features,
    tensors: new Map([...tensors(parameterLayout(network), input.parameters), ...tensors(statisticsLayout(network), input.statistics)]),
    masks: new Map(dropouts.map(({ name }, i) => [name, input.dropoutMasks[i] ?? []])),
    ...(batchNorm === "BATCH" && { counted: Array.from(input.rowWeights, (weight) => weight > 0) }),
    outputGradient: (logits) => lossGradient(logits, input, loss),
  });
  const named = (of: GradientProgram["gradients"]): Map<string, Float64Array> =>
    new Map([...of].map(([name, { id }]) => [name, values[id] as Float64Array]));
  return {
    activations: named(program.activations),
    gradients: named(program.gradients),
    moments: statisticsLayout(network).entries.flatMap(({ name }) => {
      const moments = program.moments.get(name.slice(0, name.lastIndexOf("/")));
      const value = name.endsWith("moving_mean") ? moments?.mean : moments?.variance;
      return value === undefined ? [] : [...(values[value.id] as Float64Array)];
    }),
  };
}

/** The gradient of the sum of weighted losses by the logits: weight x (probability - target). */
export function lossGradient(logits: Float64Array, { labels, rowWeights }: GradientInput, { kind, labelSmoothing }: LossSpec): number[] {
  const width = logits.length / labels.length;
  return Array.from(labels).flatMap((label, row) => {
    const own = [...logits.subarray(row * width, (row + 1) * width)];
    const exponentials = (kind === "sigmoid" ? [0, ...own] : own).map((logit) => Math.exp(logit));
    const sum = exponentials.reduce((left, right) => left + right, 0);
    const all = exponentials.map((exponential, column) => {
      const target = (column === label ? 1 - labelSmoothing : 0) + labelSmoothing / exponentials.length;
      return (rowWeights[row] as number) * (exponential / sum - target);
    });
    return kind === "sigmoid" ? all.slice(1) : all;
  });
}

/** Asserts that values differ from what is expected by no more than `tolerance` of the largest, or of 1. */
export function agree(what: string, values: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(values.length, expected.length, `${what}: number of values`);
  const largest = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  for (let i = 0; i < expected.length; i++) {
    const [value, wanted] = [values[i] as number, expected[i] as number];
    assert.ok(Math.abs(value - wanted) <= tolerance * largest, `${what}[${i}]: ${value}, expected ${wanted}`);
  }
}
