import { readFile } from "node:fs/promises";
import { CodedError } from "../../domain/errors.js";
import { inspect } from "../../formats/inspect/inspect.js";

/** Prints what a file holds. */
export async function inspectFile(file: string): Promise<void> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new CodedError("USAGE_INVALID", `${file}: cannot be read (${cause.code ?? cause.message})`, {}, cause);
  });
  process.stdout.write(`${inspect(bytes, file).trimEnd()}\n`);
}
