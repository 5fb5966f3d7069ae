import assert from "node:assert";
import { exactExp } from "../exact-math.js";
import { limits } from "../limits.js";
import type { Network } from "../network/network.js";
import { activationElements } from "../network/shapes.js";
import type { Range } from "./grains.js";
import type { LossSpec } from "./loss.js";
import { addRowsAlongTree } from "./tree.js";

/**
 * Evaluation works on fixed grains of `grainRows` rows (the last may be shorter), whatever the number of trainers. A grain yields three numbers, its leaf:
 * loss sum, correct count, row count. Counts are whole numbers below 2^24 and so exact in float32.
 */
export function evaluationGrains(rows: number, grainRows: number): number {
  return Math.ceil(rows / grainRows);
}

export function evaluationGrainRows(rows: number, grainRows: number, grain: number): Range {
  return { from: grain * grainRows, to: Math.min(rows, (grain + 1) * grainRows) };
}

/** Rows of an evaluation grain of `trainable`: `limits.evaluationRows`, halved until all their activations fit in `limits.evaluationActivationBytes`; at least two. */
export function evaluationRowsOf(trainable: Network): number {
  const rowBytes = Float32Array.BYTES_PER_ELEMENT * activationElements(trainable);
  let rows: number = limits.evaluationRows;
  while (rows > 2 && rows * rowBytes > limits.evaluationActivationBytes) rows /= 2;
  return rows;
}

/** What one evaluation grain adds to the leaves of an evaluation, in this order. */
export const leafValues = 3;

/** Sums of an evaluation from its leaves `[grains, leafValues]`: the loss along the tree over grain numbers (zeros fill it up to a power of two), the counts as whole numbers. */
export function sumLeaves(leaves: Float32Array): { readonly loss: number; readonly correct: number; readonly rows: number } {
  const grains = leaves.length / leafValues;
  assert(Number.isInteger(grains), `${leaves.length} values are no whole number of leaves`);
  let width = 1;
  while (width < grains) width *= 2;
  const losses = new Float32Array(width);
  let correct = 0;
  let rows = 0;
  for (let grain = 0; grain < grains; grain++) {
    losses[grain] = leaves[grain * leafValues] as number;
    correct += leaves[grain * leafValues + 1] as number;
    rows += leaves[grain * leafValues + 2] as number;
  }
  return { loss: addRowsAlongTree(losses, width)[0] as number, correct, rows };
}

/** Class that each row's logits speak for, into `into[at …]`: the largest (of equal ones the first), or for one logit class 1 where it is above 0. `logits`: `[rows, outputs]`. */
export function predictClasses(logits: Float32Array, rows: number, outputs: number, into: Int32Array, at: number): void {
  for (let row = 0; row < rows; row++) {
    const first = row * outputs;
    let best = 0;
    if (outputs === 1) best = (logits[first] as number) > 0 ? 1 : 0;
    else for (let c = 1; c < outputs; c++) if ((logits[first + c] as number) > (logits[first + best] as number)) best = c;
    into[at + row] = best;
  }
}

/** Probabilities of all classes from one row of logits, in float64: softmax, or for one logit [1 - p, p] with p = 1 / (1 + e^-logit). */
export function probabilitiesOf(kind: LossSpec["kind"], logits: Float32Array): number[] {
  if (kind === "sigmoid") {
    const e = exactExp(-Math.abs(logits[0] as number));
    const likely = 1 / (1 + e);
    const unlikely = e / (1 + e);
    return (logits[0] as number) >= 0 ? [unlikely, likely] : [likely, unlikely];
  }
  const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const powers = Array.from(logits, (logit) => exactExp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** `matrix[label][predicted]`: rows of class `label` that were taken for `predicted`. */
export function confusionMatrix(labels: ArrayLike<number>, predicted: ArrayLike<number>, classes: number): number[][] {
  assert(labels.length === predicted.length, `${labels.length} labels and ${predicted.length} predictions`);
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let row = 0; row < labels.length; row++) {
    const [label, guess] = [labels[row] as number, predicted[row] as number];
    const counts = matrix[label];
    assert(
      counts !== undefined && counts[guess] !== undefined,
      `row ${row}: label ${label} and prediction ${guess} among ${classes} classes`,
    );
    counts[guess] += 1;
  }
  return matrix;
}

/** What a class's column and row of the confusion matrix say. Null where the denominator is 0: nothing predicted as the class, or no row of it. */
export interface ClassScores {
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
  /** Rows of the class. */
  readonly support: number;
}

/** precision = tp / (tp + fp), recall = tp / (tp + fn), F1 = 2 tp / (2 tp + fp + fn). */
export function classScores(matrix: readonly (readonly number[])[]): ClassScores[] {
  return matrix.map((counts, label) => {
    const hits = counts[label] ?? 0;
    const support = counts.reduce((sum, count) => sum + count, 0);
    const predicted = matrix.reduce((sum, row) => sum + (row[label] ?? 0), 0);
    return {
      precision: predicted === 0 ? null : hits / predicted,
      recall: support === 0 ? null : hits / support,
      f1: predicted + support === 0 ? null : (2 * hits) / (predicted + support),
      support,
    };
  });
}

/** Numbers of the rows whose prediction is not their label, ascending. */
export function misclassifiedRows(labels: ArrayLike<number>, predicted: ArrayLike<number>): number[] {
  return Array.from({ length: labels.length }, (_, row) => row).filter((row) => labels[row] !== predicted[row]);
}
