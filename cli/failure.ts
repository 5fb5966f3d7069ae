import { CodedError, errorCodes } from "../domain/errors.js";
import { printable } from "../domain/job/figures.js";

/** The exit code of a failure that is a bug, as sysexits.h has it. */
const SOFTWARE_EXIT_CODE = 70;

/** Prints a failure once, to stderr (with --json also as one object on stdout), and sets the exit code: the code's own for an expected failure, 70 for a bug. */
export function failWith(error: unknown, json: boolean): void {
  if (error instanceof CodedError) {
    process.exitCode = errorCodes[error.code].exitCode;
    if (json)
      process.stdout.write(`${JSON.stringify({ kind: "failed", code: error.code, message: error.message, details: error.details })}\n`);
    // Names of files may hold what a terminal obeys.
    process.stderr.write(`graft: ${error.message.split("\n").map(printable).join("\n")} [${error.code}]\n`);
    return;
  }
  process.exitCode = SOFTWARE_EXIT_CODE;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (json) process.stdout.write(`${JSON.stringify({ kind: "failed", code: "INTERNAL", message: text })}\n`);
  process.stderr.write(`graft: unexpected failure, please report it with this text:\n${text}\n`);
}
