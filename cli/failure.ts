import { CodedError, errorCodes } from "../domain/errors.js";

/** Prints a failure once, to stderr (with --json as one object on stdout), and sets the exit code: the code's own for an expected failure, 70 for a bug. */
export function failWith(error: unknown, json: boolean): void {
  if (error instanceof CodedError) {
    process.exitCode = errorCodes[error.code].exitCode;
    if (json)
      process.stdout.write(`${JSON.stringify({ event: "failed", code: error.code, message: error.message, details: error.details })}\n`);
    process.stderr.write(`graft: ${error.message} [${error.code}]\n`);
    return;
  }
  process.exitCode = 70;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (json) process.stdout.write(`${JSON.stringify({ event: "failed", code: "INTERNAL", message: text })}\n`);
  process.stderr.write(`graft: unexpected failure, please report it with this text:\n${text}\n`);
}
