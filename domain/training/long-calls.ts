import { limits } from "../limits.js";
import type { Network } from "../network/network.js";
import { multiplyAddsPerImage } from "../network/shapes.js";
import { largeKernels } from "./large-kernels.js";

/** A gradient takes about three forward passes. */
const passes = { gradient: 3, evaluation: 1 } as const;

/**
 * Whether an engine's call takes so long that it should have a thread of its own, whose price is a copy of parameters, features and gradient: not for dense layers alone, which are all parameters and
 * little work, nor with large kernels. Only the network and the rows decide, never the machine.
 */
export function isLongCall(network: Network, rows: number, what: keyof typeof passes): boolean {
  const hasWindows = network.layers.some(({ kind }) => kind === "conv2d" || kind === "depthwiseConv2d");
  if (!hasWindows || largeKernels(network).length > 0) return false;
  return passes[what] * rows * multiplyAddsPerImage(network) >= limits.multiplyAddsOfShortCall;
}
