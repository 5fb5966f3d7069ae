import { CodedError } from "../../domain/errors.js";
import { engineNames, type EngineName } from "../../domain/training/trainable-layers.js";
import type { Engine } from "./engine.js";
import { instructionSet } from "./instruction-set.js";

/** What `graft engines` prints of one engine. */
export interface EngineStatus {
  readonly name: string;
  readonly available: boolean;
  /** Where available: version, device and the like. Else: why not. */
  readonly detail: string;
  /** What to do where it is not available. */
  readonly remedy: string;
}

export const defaultEngine = "onnx";

/** Every engine that graft knows, whether it can run here or not. */
export async function listEngines(): Promise<EngineStatus[]> {
  return Promise.all(engineNames.map((name) => statuses[name]()));
}

/**
 * @throws CodedError ENGINE_UNAVAILABLE with how to install it, also for a name that is not known.
 */
export async function openEngine(name: string, options: { readonly threads?: number } = {}): Promise<Engine> {
  if (name === "onnx") return (await import("./onnx/onnx.js")).openOnnxEngine(options);
  if (name === "tensorflow") return (await import("./tensorflow/tensorflow.js")).openTensorflowEngine(options);
  throw new CodedError("ENGINE_UNAVAILABLE", `engine "${name}" is not known; the engines are ${engineNames.join(" and ")}`, {
    engine: name,
  });
}

/** Adapters are loaded only here and in `openEngine`: their packages take longer to load than `graft --help` may take. */
const statuses: Readonly<Record<EngineName, () => Promise<EngineStatus>>> = {
  async onnx() {
    const name = "onnx";
    try {
      const { executionProviders, loadRuntime, runtimeVersion } = await import("./onnx/runtime.js");
      const runtime = await loadRuntime();
      const detail = `onnxruntime-node ${runtimeVersion(runtime)}, ${instructionSet()}, providers: ${executionProviders.join(", ")}`;
      return { name, available: true, detail, remedy: "" };
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return { name, available: false, detail: error.message, remedy: "install graft's dependencies again with npm install" };
    }
  },
  async tensorflow() {
    const name = "tensorflow";
    const { findRuntime, remedy } = await import("./tensorflow/load.js");
    const found = findRuntime();
    if ("missing" in found) return { name, available: false, detail: found.missing, remedy };
    const { packageVersion, libraryVersion, device } = found.runtime;
    const detail = `tfjs-node ${packageVersion}, TensorFlow ${libraryVersion}, ${instructionSet()}, device: ${device}`;
    return { name, available: true, detail, remedy: "" };
  },
};
