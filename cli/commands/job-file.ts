import { readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { systemError } from "../system-error.js";
import { applyOverrides } from "../../domain/job/override.js";
import type { JobMetadata } from "../../domain/job/resource.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { limits } from "../../domain/limits.js";
import { parseJobFile } from "../../formats/job-file/job-file.js";

/**
 * A job file with the flags applied. Relative paths (source, `initialWeights.fromResult`) are relative to the job file's folder, as the file's author meant it.
 * @throws CodedError SPEC_INVALID, USAGE_INVALID
 */
export async function readJobFile(
  file: string,
  flags: Readonly<Record<string, unknown>>,
): Promise<{ readonly spec: JobSpec; readonly metadata: JobMetadata; readonly name: string }> {
  const { metadata, spec } = parseJobFile(await readText(file), file);
  const source = spec.dataset?.source;
  const fromResult = spec.initialWeights?.fromResult;
  const inPlace = {
    ...spec,
    ...(source !== undefined && !source.includes("://") && { dataset: { ...spec.dataset, source: resolve(dirname(file), source) } }),
    ...(fromResult !== undefined && { initialWeights: { ...spec.initialWeights, fromResult: resolve(dirname(file), fromResult) } }),
  };
  return { spec: applyOverrides(inPlace, flags), metadata: metadata, name: metadata.name ?? basename(file, extname(file)) };
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > limits.jobFileBytes)
      throw new CodedError("SPEC_INVALID", `${file}: expected a job file of at most ${limits.jobFileBytes} bytes, found ${size}`);
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const code = systemError(error);
    const found = code === "ENOENT" ? "nothing there" : code === "EISDIR" ? "a folder" : code === "EACCES" ? "no permission" : code;
    throw new CodedError("USAGE_INVALID", `${file}: expected a job file (YAML or JSON), found ${found}`, { code }, error);
  }
}
