import type { Engine } from "../engine.js";
import { instructionSet } from "../instruction-set.js";
import { compileEvaluation } from "./evaluation.js";
import { compileForward, passRows } from "./forward.js";
import { compileGradient } from "./gradient.js";
import { defaultThreads, loadRuntime } from "./load.js";

export interface TensorflowOptions {
  /** Threads of one kernel on the CPU; the bits of gradients depend on them. All engines of a process have the same. */
  readonly threads?: number;
}

/**
 * TensorFlow by tfjs-node, on a GPU where there is one.
 * @throws CodedError ENGINE_UNAVAILABLE where it cannot be loaded, or runs in this process with another number of threads.
 */
export async function openTensorflowEngine({ threads = defaultThreads }: TensorflowOptions = {}): Promise<Engine> {
  const runtime = loadRuntime(threads);
  const profile = {
    engine: "tensorflow",
    engineVersion: `${runtime.packageVersion}+tensorflow-${runtime.libraryVersion}`,
    device: runtime.device,
    instructionSet: instructionSet(),
    threads: runtime.onGpu ? 0 : threads,
    decoder: "",
  };
  return {
    name: "tensorflow",
    forwardProfile: { ...profile, batch: passRows },
    gradientProfile: { ...profile, batch: 0 },
    compileForward: async (network, weights, options) => compileForward(runtime, network, weights, options),
    compileGradient: async (trainable, shape) => compileGradient(runtime, trainable, shape),
    compileEvaluation: async (trainable, rows) => compileEvaluation(runtime, trainable, rows),
  };
}
