import { limits } from "../limits.js";
import type { Network } from "../network/network.js";
import { activationElements } from "../network/shapes.js";

/**
 * As many of the grains, a power of two, as keep the activations of one call of an engine within `limits.activationBytesOfCall`; at least one. With statistics of the batch grains are run one by one.
 * Only the network and the rows of a grain decide, never the machine.
 */
export function grainsOfCall(network: Network, batchNorm: "FROZEN" | "BATCH", grainRows: number, grains: number): number {
  if (batchNorm === "BATCH" && network.layers.some(({ kind }) => kind === "batchNorm")) return 1;
  const bytesOfGrain = 4 * activationElements(network) * grainRows;
  let count = grains;
  while (count > 1 && count * bytesOfGrain > limits.activationBytesOfCall) count /= 2;
  return count;
}
