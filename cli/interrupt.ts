import { CodedError } from "../domain/errors.js";

/** The first Ctrl-C (or SIGTERM) aborts the signal, the second ends the process at once. */
export function interruptSignal(): { readonly signal: AbortSignal; readonly release: () => void } {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new CodedError("INTERRUPTED", "interrupted"));
    process.stderr.write("\nstopping; what is done is kept (again to stop at once) …\n");
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    release: () => process.off("SIGINT", onSignal).off("SIGTERM", onSignal),
  };
}
