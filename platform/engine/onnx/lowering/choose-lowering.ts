import { CodedError } from "../../../../domain/errors.js";
import type { Runtime } from "../runtime.js";
import { blockedLowering } from "./blocked/blocked.js";
import { probeBlocked } from "./blocked/probe.js";
import type { Lowering } from "./lowering.js";
import { portableLowering } from "./portable/portable.js";

export type LoweringName = "blocked" | "portable";

/** A probe runs once per process. */
const probed = new WeakMap<Runtime, ReturnType<typeof probeBlocked>>();

/**
 * The lowering that is wanted; else blocked, or portable where the probe says why not.
 * @throws CodedError ENGINE_UNAVAILABLE where blocked is wanted and this machine has no such operators.
 */
export async function chooseLowering(runtime: Runtime, wanted: LoweringName | undefined): Promise<Lowering> {
  if (wanted === "portable") return portableLowering;
  let probe = probed.get(runtime);
  if (probe === undefined) probed.set(runtime, (probe = probeBlocked(runtime)));
  const found = await probe;
  if ("block" in found) return blockedLowering(found.block);
  if (wanted === undefined) return portableLowering;
  throw new CodedError(
    "ENGINE_UNAVAILABLE",
    `engine onnx: the blocked lowering cannot run on this machine (${found.reason}); leave the option out, and the portable one is used`,
    { reason: found.reason },
  );
}
