import type { InferenceSession } from "onnxruntime-node";
import { CodedError } from "../../../domain/errors.js";

/** The parts of the package that we use; its tensors wrap our arrays without a copy. */
export type Runtime = typeof import("onnxruntime-node");

/**
 * Loads the package only when it is needed: it costs 0.2 s.
 * @throws CodedError ENGINE_UNAVAILABLE with what to do.
 */
export async function loadRuntime(): Promise<Runtime> {
  try {
    return await import("onnxruntime-node");
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new CodedError(
      "ENGINE_UNAVAILABLE",
      `engine onnx: the package onnxruntime-node could not be loaded on ${process.platform}-${process.arch} (${reason}); install it again with ` +
        `"ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node" on Linux x64 or arm64, macOS arm64 or Windows`,
      { platform: process.platform, architecture: process.arch },
      cause,
    );
  }
}

/** Where sessions run; the package may know more. */
export const executionProviders: readonly string[] = ["cpu"];

/** A session on the CPU. Idle threads sleep: spinning ones slow every other session of the process by 1.4 to 3 times. */
export function createSession(
  runtime: Runtime,
  model: Uint8Array,
  threads: number,
  options: InferenceSession.SessionOptions = {},
): Promise<InferenceSession> {
  return runtime.InferenceSession.create(model, {
    executionProviders,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    // Only errors: a warning that nobody can act on would stand in the middle of a progress bar.
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: "0" } } },
    ...options,
  });
}

export function runtimeVersion(runtime: Runtime): string {
  return runtime.env.versions.node ?? runtime.env.versions.common;
}
