import type { LossSpec } from "../../../domain/training/loss.js";
import type { Kernels, Value } from "./kernels.js";
import { float32 } from "./layer-run.js";

/** What the logits of some rows say against their targets. */
export interface RowLosses {
  /** Unweighted, one a row. */
  readonly losses: Float32Array;
  readonly logits: Float32Array;
  /** The class of the largest logit, the first of equals; with one logit, class 1 where it is above 0. */
  readonly predicted: Int32Array;
  /** Unweighted gradient of each row's loss, shaped as the logits. */
  readonly gradient: Value;
}

/**
 * Cross-entropy of `logits [rows, columns]` against `targets` (row-sums.ts). A single sigmoid of z is the softmax of (0, z), and its targets have two columns:
 * loss = t0 softplus(z) + t1 softplus(-z), gradient = sigmoid(z) (t0 + t1) - t1, where t0 + t1 = 1.
 */
export function rowLosses(kernels: Kernels, logits: Value, targets: Float32Array, loss: LossSpec): RowLosses {
  const [rows = 0, columns = 0] = logits.shape;
  const read = kernels.read(logits);
  if (loss.kind === "softmax") {
    const target = kernels.upload(targets, [rows, columns]);
    const [losses, gradient] = kernels.run("SoftmaxCrossEntropyWithLogits", float32, [logits, target], 2);
    kernels.release(target);
    return { losses: taken(kernels, losses as Value), logits: read, predicted: largest(read, rows), gradient: gradient as Value };
  }
  const column = (index: number): Value =>
    kernels.upload(targets.filter((_, i) => i % 2 === index), [rows, 1]); // prettier-ignore
  const [negative, positive] = [column(0), column(1)];
  const opposite = kernels.one("Neg", float32, [logits]);
  const parts = [
    [logits, negative],
    [opposite, positive],
  ].map(([z, target]) => {
    const softplus = kernels.one("Softplus", float32, [z as Value]);
    return kernels.one("Mul", float32, [softplus, target as Value], [softplus]);
  });
  const losses = kernels.one("AddV2", float32, parts, [...parts, opposite, negative]);
  const probability = kernels.one("Sigmoid", float32, [logits]);
  const gradient = kernels.one("Sub", float32, [probability, positive], [probability, positive]);
  return { losses: taken(kernels, losses), logits: read, predicted: Int32Array.from(read, (z) => (z > 0 ? 1 : 0)), gradient };
}

function taken(kernels: Kernels, value: Value): Float32Array {
  const data = kernels.read(value);
  kernels.release(value);
  return data;
}

function largest(logits: Float32Array, rows: number): Int32Array {
  const columns = logits.length / rows;
  return Int32Array.from({ length: rows }, (_, row) => {
    const values = logits.subarray(row * columns, (row + 1) * columns);
    return values.reduce((best, value, column) => (value > (values[best] as number) ? column : best), 0);
  });
}
