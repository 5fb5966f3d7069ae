import { availableParallelism } from "node:os";
import type { Engine } from "../engine.js";
import { instructionSet } from "../instruction-set.js";
import { compileEvaluation } from "./evaluation.js";
import { compileForward } from "./forward.js";
import { compileGradient } from "./gradient.js";
import { compileGradientInParts } from "./gradient-in-parts.js";
import { chooseLowering, type LoweringName } from "./lowering/choose-lowering.js";
import { loadRuntime, runtimeVersion } from "./runtime.js";
import { Sessions } from "./sessions.js";

export interface OnnxOptions {
  /** Threads of a forward pass, and of the gradient of convolutions; no bit depends on them. Default: all cores. */
  readonly threads?: number;
  /** How gradients and evaluations are written as graphs. Default: blocked where the probe finds it right, else portable. */
  readonly lowering?: LoweringName;
}

/**
 * onnxruntime-node on the CPU.
 * @throws CodedError ENGINE_UNAVAILABLE where the package cannot be loaded, or where the lowering that is asked for cannot run on this machine.
 */
export async function openOnnxEngine({ threads = availableParallelism(), lowering: wanted }: OnnxOptions = {}): Promise<Engine> {
  const runtime = await loadRuntime();
  const lowering = await chooseLowering(runtime, wanted);
  const lowered = { runtime, sessions: new Sessions(runtime), lowering, threads };
  const engineVersion = runtimeVersion(runtime);
  const profile = {
    engine: "onnx",
    engineVersion,
    device: "cpu",
    instructionSet: instructionSet(),
    batch: 0,
    decoder: "",
  };
  return {
    name: "onnx",
    // Gradients have the bits of one thread: dense layers alone run on one, and elsewhere no bit depends on them.
    forwardProfile: { ...profile, threads: 0 },
    gradientProfile: { ...profile, engineVersion: `${engineVersion}+${lowering.name}`, threads: 1 },
    compileForward: (network, weights, options) => compileForward(runtime, threads, network, weights, options),
    compileGradient: (trainable, shape) => compileGradient(lowered, trainable, shape),
    compileGradientInParts: (trainable, grainRows, kernels) => compileGradientInParts(lowered, trainable, grainRows, kernels),
    compileEvaluation: (trainable, rows) => compileEvaluation(lowered, trainable, rows),
  };
}
