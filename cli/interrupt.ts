import { CodedError } from "../domain/errors.js";
import { failWith } from "./failure.js";

/** What is in the middle of something longer than this is left where it is: whatever was finished is in the store, and the next run goes on from there. */
const GRACE_MS = 1_500;

/**
 * The first Ctrl-C (or SIGTERM) aborts the signal and gives the work `GRACE_MS` to end; the second one ends the process at once.
 * `leave` is called before the process ends without having come to its end by itself.
 */
export function interruptSignal(leave: () => CodedError): { readonly signal: AbortSignal; readonly release: () => void } {
  const controller = new AbortController();
  let grace: NodeJS.Timeout | undefined;
  const end = (): void => {
    failWith(leave(), process.argv.includes("--json"));
    process.exit();
  };
  const onSignal = (): void => {
    if (controller.signal.aborted) return end();
    controller.abort(new CodedError("INTERRUPTED", "interrupted"));
    grace = setTimeout(end, GRACE_MS);
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    release: () => {
      clearTimeout(grace);
      process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    },
  };
}
