import { limits } from "../limits.js";
import type { Network } from "../network/network.js";
import { parameterLayout, type ParameterEntry } from "./parameters.js";

/** Kernels of dense layers that are so large that a step takes as long as their parameters, gradients and slots take to be read and written. Only the network decides, never the machine. */
export function largeKernels(network: Network): readonly ParameterEntry[] {
  const dense = new Set(network.layers.filter(({ kind }) => kind === "dense").map(({ name }) => `${name}/kernel`));
  return parameterLayout(network).entries.filter(({ name, length }) => dense.has(name) && length >= limits.largeKernelElements);
}
