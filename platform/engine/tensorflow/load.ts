import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CodedError } from "../../../domain/errors.js";
import type { Binding } from "./binding.js";

/** TensorFlow in this process. */
export interface Runtime {
  readonly binding: Binding;
  /** Of tfjs-node. */
  readonly packageVersion: string;
  /** Of TensorFlow. */
  readonly libraryVersion: string;
  readonly onGpu: boolean;
  /** cpu, or the model of the GPU. */
  readonly device: string;
  /** Of one kernel on the CPU. */
  readonly threads: number;
}

/** Fixed, so that machines with different numbers of cores have one numerics profile. */
export const defaultThreads = 4;

/** What to do where it is missing. */
export const remedy =
  'put it together with "npm run engine:tensorflow" in graft\'s folder ("npm run engine:tensorflow -- --gpu" for CUDA), or use the onnx engine, which needs nothing else';

const packages = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"] as const;

/** The library is the process's, and reads its number of threads once: what is opened first decides. */
let loaded: Runtime | undefined;

/**
 * TensorFlow with this number of threads.
 * @throws CodedError ENGINE_UNAVAILABLE with the reason and what to do.
 */
export function loadRuntime(threads: number): Runtime {
  const found = findRuntime(threads);
  if ("missing" in found)
    throw new CodedError("ENGINE_UNAVAILABLE", `engine tensorflow: ${found.missing}; ${remedy}`, { engine: "tensorflow" });
  if (found.runtime.threads === threads) return found.runtime;
  throw new CodedError(
    "ENGINE_UNAVAILABLE",
    `engine tensorflow: this process runs it with ${found.runtime.threads} threads, which cannot be changed to ${threads}; use one number of threads, or another process`,
    { engine: "tensorflow", threads: found.runtime.threads },
  );
}

/** TensorFlow by tfjs-node: as it was installed by npm, else as scripts/engine-tensorflow.mjs put it together; the one for GPUs first. What is loaded already stays as it is. */
export function findRuntime(threads = defaultThreads): { readonly runtime: Runtime } | { readonly missing: string } {
  if (loaded !== undefined) return { runtime: loaded };
  prepareProcess(threads);
  const reasons: string[] = [];
  for (const { name, from } of candidates()) {
    try {
      const tf = createRequire(from)(name) as TfjsNode;
      const { binding, isUsingGpuDevice: onGpu } = tf.backend();
      const versions = { packageVersion: tf.version["tfjs-node"], libraryVersion: binding.TF_Version };
      loaded = { binding, ...versions, onGpu, device: onGpu ? gpuModel() : "cpu", threads };
      return { runtime: loaded };
    } catch (error) {
      if (isMissing(error, name)) continue;
      reasons.push(`${name}: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}`);
    }
  }
  return { missing: reasons.length > 0 ? reasons.join("; ") : `${packages.join(" and ")} are not installed` };
}

/** What the package's main module gives, as far as it is used here. */
interface TfjsNode {
  backend(): { readonly binding: Binding; readonly isUsingGpuDevice: boolean };
  readonly version: { readonly "tfjs-node": string };
}

/** What TensorFlow and tfjs-node read of the process when they are loaded. What decides bits is set whatever the caller's environment says. */
function prepareProcess(threads: number): void {
  Object.assign(process.env, {
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_NUM_INTEROP_THREADS: "1",
    TF_DETERMINISTIC_OPS: "1",
    TF_ENABLE_ONEDNN_OPTS: "1",
    NVIDIA_TF32_OVERRIDE: "0", // products of float32 with 10 bits of mantissa are no float32
    TF_FORCE_GPU_ALLOW_GROWTH: "true", // else the first process takes the whole memory of the GPU
  });
  process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2"; // only errors: a warning that nobody can act on would stand in the middle of a progress bar
}

/** Where the packages may be: a module's address as `require` takes it, and the package's name. */
function candidates(): { readonly name: string; readonly from: string }[] {
  const own = fileURLToPath(import.meta.url);
  let folder = dirname(own);
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  const put = (variant: string): string => join(folder, ".cache/engine-tensorflow", variant, "package.json");
  return [
    ...packages.map((name) => ({ name, from: own })),
    ...packages.map((name, i) => ({ name, from: put(["gpu", "cpu"][i] as string) })).filter(({ from }) => existsSync(from)),
  ];
}

function isMissing(error: unknown, name: string): boolean {
  return error instanceof Error && "code" in error && error.code === "MODULE_NOT_FOUND" && error.message.includes(`'${name}'`);
}

/** As the driver names the GPUs of this machine. */
function gpuModel(): string {
  const folder = "/proc/driver/nvidia/gpus";
  const models = existsSync(folder)
    ? readdirSync(folder).flatMap((gpu) => /^Model:\s*(.+)$/m.exec(readFileSync(join(folder, gpu, "information"), "utf8"))?.[1] ?? [])
    : [];
  return models.length > 0 ? [...new Set(models)].sort().join(", ") : "gpu of unknown model";
}
