import { availableParallelism } from "node:os";
import type { Engine } from "../engine.js";
import { instructionSet } from "../instruction-set.js";
import { compileEvaluation } from "./evaluation.js";
import { compileForward } from "./forward.js";
import { compileGradient } from "./gradient.js";
import { chooseLowering, type LoweringName } from "./lowering/choose-lowering.js";
import { loadRuntime, runtimeVersion } from "./runtime.js";
import { Sessions } from "./sessions.js";

export interface OnnxOptions {
  /** Threads of a forward pass; its bits do not depend on them. Default: all cores. */
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
  const choice = await chooseLowering(runtime, wanted);
  const lowered = { runtime, sessions: new Sessions(runtime), ...choice, threads };
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
    forwardProfile: { ...profile, threads: 0 },
    gradientProfile: { ...profile, engineVersion: `${engineVersion}+${choice.pictures.name}`, threads: 0 },
    compileForward: (network, weights, options) => compileForward(runtime, threads, network, weights, options),
    compileGradient: (trainable, shape) => compileGradient(lowered, trainable, shape),
    compileEvaluation: (trainable, rows) => compileEvaluation(lowered, trainable, rows),
  };
}
