import { limits } from "../limits.js";
import type { Network } from "../network/network.js";
import { activationElements } from "../network/shapes.js";

/**
 * As many of the grains, a power of two, as keep the activations of one call of an engine within `limits.activationBytesOfCall`; at least one. With statistics of the batch grains are run one by one.
 * Only the network and the rows of a grain decide, never the machine.
 */
export function grainsOfCall(network: Network, batchNorm: "FROZEN" | "BATCH", grainRows: number, grains: number): number {
  if (batchNorm === "BATCH" && network.layers.some(({ kind }) => kind === "batchNorm")) return 1;
  const bytes = bytesOfGrain(network, grainRows);
  let count = grains;
  while (count > 1 && count * bytes > limits.activationBytesOfCall) count /= 2;
  return count;
}

/**
 * How many lanes share the grains of one call, each with an aligned sub-tree: as many as threads and grains, a power of two; more than two only while the activations of what they run beside each other
 * stay within `limits.activationBytesOfLanes`. Which machine it is may decide: no bit depends on it.
 */
export function lanesOfCall(network: Network, batchNorm: "FROZEN" | "BATCH", grainRows: number, grains: number, threads: number): number {
  const bytes = bytesOfGrain(network, grainRows);
  const fits = (lanes: number): boolean =>
    lanes === 2 || lanes * grainsOfCall(network, batchNorm, grainRows, grains / lanes) * bytes <= limits.activationBytesOfLanes;
  let lanes = 1;
  while (2 * lanes <= Math.min(threads, grains) && fits(2 * lanes)) lanes *= 2;
  return lanes;
}

function bytesOfGrain(network: Network, grainRows: number): number {
  return 4 * activationElements(network) * grainRows;
}
