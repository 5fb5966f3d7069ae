import { CodedError } from "../../../../domain/errors.js";
import type { Network } from "../../../../domain/network/network.js";
import type { Runtime } from "../runtime.js";
import { blockedLowering } from "./blocked/blocked.js";
import { probeBlocked } from "./blocked/probe.js";
import type { Lowering } from "./lowering.js";
import { portableLowering } from "./portable/portable.js";

export type LoweringName = "blocked" | "portable";

/** The lowering of networks on pictures; networks on vectors are always written by the portable one. */
export interface LoweringChoice {
  readonly pictures: Lowering;
}

/** How one network is written, and on how many threads it runs. */
export interface NetworkLowering {
  readonly lowering: Lowering;
  readonly threads: number;
}

/** More threads than this would show in the bits of matrix products (see blocked/row-products.ts). */
const blockedThreadsMax = 4;

/** A probe runs once per process. */
const probes = new WeakMap<Runtime, ReturnType<typeof probeBlocked>>();

/** @throws CodedError ENGINE_UNAVAILABLE where blocked is asked for and this machine has no such operators. */
export async function chooseLowering(
  runtime: Runtime,
  wanted: LoweringName | undefined,
  probe: typeof probeBlocked = probeBlocked,
): Promise<LoweringChoice> {
  if (wanted === "portable") return { pictures: portableLowering };
  let probed = probes.get(runtime);
  if (probed === undefined) probes.set(runtime, (probed = probe(runtime)));
  const found = await probed;
  if ("block" in found) return { pictures: blockedLowering(found.block) };
  if (wanted === undefined) return { pictures: portableLowering };
  throw new CodedError(
    "ENGINE_UNAVAILABLE",
    `engine onnx: the blocked lowering cannot run on this machine (${found.reason}); leave the option out, and the portable one is used`,
    { reason: found.reason },
  );
}

/**
 * Vectors know no blocks, and their products are so short that one thread is as fast as two. The portable lowering runs on one thread: a matrix product shared by threads adds in another order.
 */
export function loweringOf({ pictures }: LoweringChoice, { layers }: Network, threads: number): NetworkLowering {
  const hasPictures = layers.some(({ kind }) => kind === "conv2d" || kind === "depthwiseConv2d");
  const isBlocked = hasPictures && pictures !== portableLowering;
  return isBlocked ? { lowering: pictures, threads: Math.min(threads, blockedThreadsMax) } : { lowering: portableLowering, threads: 1 };
}
