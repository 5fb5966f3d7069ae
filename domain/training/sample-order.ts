import assert from "node:assert";
import type { Recipe } from "../job/job.js";
import { permutation, randomKey, RandomStream } from "../random.js";

/** Steps of a training: as given, or ceil(epochs x rows / batchSize) and at least one. */
export function stepsOf(length: Recipe["length"], rows: number, batchSize: number): number {
  return "steps" in length ? length.steps : Math.max(1, Math.ceil((length.epochs * rows) / batchSize));
}

/** Which rows of the training set make the batch of each step. */
export interface SampleOrder {
  /** The rows of step `step`, in batch order: a pure function of the step; cheap for neighbouring steps. Valid until the next call. */
  batch(step: number): Uint32Array;
}

/** Batches cut from an endless sequence of permutations, one an epoch, so that none is short. Works for batches larger than the training set. */
export function shuffledOrder(seed: number, rows: number, batchSize: number): SampleOrder {
  assert(rows >= 1 && batchSize >= 1, `a batch of ${batchSize} from ${rows} rows`);
  const key = randomKey(seed, "order");
  const batch = new Uint32Array(batchSize);
  const permuted = new Uint32Array(rows);
  let permutedEpoch = -1;
  return {
    batch(step) {
      // Exact: step x batchSize may pass 2^32, but stays below 2^53.
      let epoch = Math.floor((step * batchSize) / rows);
      let position = step * batchSize - epoch * rows;
      for (let filled = 0; filled < batchSize; epoch++, position = 0) {
        if (epoch !== permutedEpoch) {
          permutation(new RandomStream(key, epoch), permuted);
          permutedEpoch = epoch;
        }
        const taken = Math.min(batchSize - filled, rows - position);
        batch.set(permuted.subarray(position, position + taken), filled);
        filled += taken;
      }
      return batch;
    },
  };
}

/**
 * Sampling with replacement: for each place in the batch a class, all classes equally likely, and then a row of it, all rows equally likely.
 * Classes without rows are never drawn. `labels[row]` is a class number from 0 to `classes` - 1.
 */
export function classBalancedOrder(seed: number, labels: Int32Array, classes: number, batchSize: number): SampleOrder {
  assert(labels.length >= 1 && batchSize >= 1, `a batch of ${batchSize} from ${labels.length} rows`);
  const key = randomKey(seed, "class-balanced");
  const stream = new RandomStream(key);
  const rowsOfClass = rowsByClass(labels, classes).filter((rows) => rows.length > 0);
  const batch = new Uint32Array(batchSize);
  return {
    batch(step) {
      for (let place = 0; place < batchSize; place++) {
        stream.seek(step, place);
        const rows = rowsOfClass[stream.below(rowsOfClass.length)] as Uint32Array;
        batch[place] = rows[stream.below(rows.length)] as number;
      }
      return batch;
    },
  };
}

function rowsByClass(labels: Int32Array, classes: number): Uint32Array[] {
  const counts = new Uint32Array(classes);
  for (const label of labels) {
    assert(label >= 0 && label < classes, `label ${label} among ${classes} classes`);
    counts[label] = (counts[label] as number) + 1;
  }
  const rows = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  labels.forEach((label, row) => {
    const at = counts[label] as number;
    (rows[label] as Uint32Array)[at] = row;
    counts[label] = at + 1;
  });
  return rows;
}
