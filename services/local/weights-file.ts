import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../domain/errors.js";

/** The weights in the folder of a result, or in a file. @throws CodedError WEIGHTS_INVALID naming what is not there */
export async function readWeightsFile(from: string): Promise<Uint8Array> {
  const found = await stat(from).catch(() => undefined);
  const path = found?.isDirectory() === true ? join(from, "weights.safetensors") : from;
  try {
    return await readFile(path);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CodedError(
      "WEIGHTS_INVALID",
      `initialWeights.fromResult: ${JSON.stringify(path)} cannot be read (${reason}); give the folder of a finished result, which holds weights.safetensors, or a .safetensors file`,
      { path },
      cause,
    );
  }
}
