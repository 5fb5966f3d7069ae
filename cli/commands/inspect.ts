import { readFile } from "node:fs/promises";
import { CodedError } from "../../domain/errors.js";
import { systemError } from "../system-error.js";
import { inspect } from "../../formats/inspect/inspect.js";

/** Prints what a file holds. */
export async function inspectFile(file: string): Promise<void> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new CodedError("USAGE_INVALID", `${file}: cannot be read (${systemError(cause)}); check its name and permissions`, {}, cause);
  });
  process.stdout.write(`${inspect(bytes, file).trimEnd()}\n`);
}
