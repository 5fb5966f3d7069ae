import { availableParallelism } from "node:os";
import type { Engine } from "../engine.js";
import { instructionSet } from "../instruction-set.js";
import { compileEvaluation } from "./evaluation.js";
import { compileForward } from "./forward.js";
import { compileGradient } from "./gradient.js";
import { compileGradientInParts } from "./gradient-in-parts.js";
import { portableLowering } from "./lowering/portable/portable.js";
import { loadRuntime, runtimeVersion } from "./runtime.js";
import { Sessions } from "./sessions.js";

export interface OnnxOptions {
  /** Threads of a forward pass, and of the gradient of convolutions; no bit depends on them. Default: all cores. */
  readonly threads?: number;
  /** How gradients and evaluations are written as graphs. Default: the fastest that this machine can run. */
  readonly lowering?: "portable";
}

/**
 * onnxruntime-node on the CPU.
 * @throws CodedError ENGINE_UNAVAILABLE where the package cannot be loaded.
 */
export async function openOnnxEngine({ threads = availableParallelism() }: OnnxOptions = {}): Promise<Engine> {
  const runtime = await loadRuntime();
  // There is one so far.
  const lowered = { runtime, sessions: new Sessions(runtime), lowering: portableLowering, threads };
  const profile = {
    engine: "onnx",
    engineVersion: runtimeVersion(runtime),
    device: "cpu",
    instructionSet: instructionSet(),
    batch: 0,
    decoder: "",
  };
  return {
    name: "onnx",
    // Gradients have the bits of one thread: dense layers alone run on one, and elsewhere no bit depends on them.
    forwardProfile: { ...profile, threads: 0 },
    gradientProfile: { ...profile, threads: 1 },
    compileForward: (network, weights, options) => compileForward(runtime, threads, network, weights, options),
    compileGradient: (trainable, shape) => compileGradient(lowered, trainable, shape),
    compileGradientInParts: (trainable, grainRows, kernels) => compileGradientInParts(lowered, trainable, grainRows, kernels),
    compileEvaluation: (trainable, rows) => compileEvaluation(lowered, trainable, rows),
  };
}
