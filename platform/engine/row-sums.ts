import type { LossSpec } from "../../domain/training/loss.js";
import { addRowsAlongTree } from "../../domain/training/tree.js";

/**
 * The targets `[rows, columns]` of a loss, kept from call to call so that only what changed is written.
 * With smoothing e the label's column holds (1 - e) + e / columns and the others e / columns.
 */
export class Targets {
  readonly data: Float32Array;
  readonly #columns: number;
  readonly #on: number;
  readonly #off: number;
  /** The column that is on in each row, -1 for none. */
  readonly #set: Int32Array;

  constructor(rows: number, columns: number, loss: LossSpec) {
    this.#columns = columns;
    this.#off = Math.fround(loss.labelSmoothing / columns);
    this.#on = Math.fround(1 - loss.labelSmoothing + loss.labelSmoothing / columns);
    this.data = new Float32Array(rows * columns).fill(this.#off);
    this.#set = new Int32Array(rows).fill(-1);
  }

  /** Rows of weight 0 may hold any label; they get the same target whatever it is. */
  write(labels: Int32Array, rowWeights: Float32Array): void {
    for (let row = 0; row < this.#set.length; row++) {
      const label = rowWeights[row] === 0 ? -1 : (labels[row] ?? -1);
      const before = this.#set[row] ?? -1;
      if (label === before) continue;
      if (label < 0 ? rowWeights[row] !== 0 : label >= this.#columns)
        throw new RangeError(`row ${row} has the label ${label}, but there are ${this.#columns} classes`);
      const start = row * this.#columns;
      if (before >= 0) this.data[start + before] = this.#off;
      if (label >= 0) this.data[start + label] = this.#on;
      this.#set[row] = label;
    }
  }
}

/** Weighted loss, in float32, row after row within a grain and along the tree over grains; and the rows of weight > 0 whose prediction is the label. */
export function sumRowLosses(
  rowLoss: Float32Array,
  predicted: Int32Array,
  { labels, rowWeights }: { readonly labels: Int32Array; readonly rowWeights: Float32Array },
  grains: number,
): { readonly loss: number; readonly correct: number } {
  const grainRows = rowLoss.length / grains;
  const losses = new Float32Array(grains);
  let correct = 0;
  for (let row = 0; row < rowLoss.length; row++) {
    const weight = rowWeights[row] ?? 0;
    if (weight === 0) continue;
    const grain = Math.floor(row / grainRows);
    losses[grain] = (losses[grain] ?? 0) + Math.fround((rowLoss[row] ?? NaN) * weight);
    if (predicted[row] === labels[row]) correct++;
  }
  return { loss: addRowsAlongTree(losses, grains)[0] ?? NaN, correct };
}
