import { strict as assert } from "node:assert";
import { setImmediate as othersRun } from "node:timers/promises";
import { limits } from "../../../domain/limits.js";
import { foldBatchNorm } from "../../../domain/network/fold-batch-norm.js";
import { elementCount, type Network, type Weights } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { checkFeatures } from "../check-features.js";
import type { Forward, ForwardOptions } from "../engine.js";
import { Kernels } from "./kernels.js";
import type { Runtime } from "./load.js";
import { infer } from "./pass.js";
import { uploadFeatures } from "./pixels.js";
import { uploadWeights } from "./weights.js";

/**
 * Rows of one pass, whatever the caller's batch is. A product of a single row runs in another kernel, and with more threads than rows convolutions are divided otherwise, which gives other
 * bits; at one shape a row has the same bits wherever it lies (tried with 1, 2 and 4 threads).
 */
export const passRows = limits.forwardBatch;

/** The frozen network with its weights in TensorFlow; see `Engine.compileForward`. */
export function compileForward(
  { binding, onGpu }: Runtime,
  network: Network,
  weights: Weights,
  { batch, preprocessing }: ForwardOptions,
): Forward {
  assert(Number.isInteger(batch) && batch >= 1, `a forward pass needs a batch of at least 1 row, found ${batch}`);
  const folded = foldBatchNorm(network, weights);
  const constants = new Kernels(binding);
  const values = uploadWeights(constants, folded.weights);
  const rowLength = elementCount(network.inputShape);
  const outputLength = elementCount(layerShapes(network).get(network.output) ?? []);

  return {
    batch,
    async run(input, rows) {
      assert(Number.isInteger(rows) && rows >= 1 && rows <= batch, `a forward pass takes 1 to ${batch} rows, found ${rows}`);
      checkFeatures(network.name, input, rows * rowLength, preprocessing);
      const output = new Float32Array(rows * outputLength);
      for (let first = 0; first < rows; first += passRows) {
        const end = Math.min(first + passRows, rows);
        const found = runPass(input.subarray(first * rowLength, end * rowLength));
        output.set(found.subarray(0, (end - first) * outputLength), first * outputLength);
        if (end < rows) await othersRun();
      }
      return output;
    },
    async release() {
      constants.close();
    },
  };

  /** Up to `passRows` rows, filled up with zeros. */
  function runPass(rows: Uint8Array | Float32Array): Float32Array {
    const whole = rows.length === passRows * rowLength ? rows : padded(rows, passRows * rowLength);
    const kernels = new Kernels(binding);
    try {
      const features = uploadFeatures(kernels, whole, [passRows, ...network.inputShape], preprocessing);
      return kernels.read(infer(kernels, folded.network, features, { weights: values, onGpu }));
    } finally {
      kernels.close();
    }
  }
}

function padded(input: Uint8Array | Float32Array, length: number): Uint8Array | Float32Array {
  const whole = input instanceof Uint8Array ? new Uint8Array(length) : new Float32Array(length);
  whole.set(input);
  return whole;
}
