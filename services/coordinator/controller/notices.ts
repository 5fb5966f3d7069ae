import { reasonOf } from "../../../domain/job/conditions.js";
import type { JobStatus } from "../../../domain/job/status.js";
import type { JobNotice } from "../../../platform/job-resources/job-resources.js";

/** What of a status is written at once. */
export function toldOf({ phase, suspended, failure, workers }: JobStatus): string {
  return [phase, suspended, failure?.code ?? "", workers?.blocked?.code ?? ""].join(" ");
}

/** What a person would want to read in `kubectl describe` about a change of state. */
export function noticeOf(status: JobStatus): JobNotice | undefined {
  const { phase, suspended, failure, pictures, steps } = status;
  if (failure !== null) return { type: "Warning", reason: reasonOf(failure.code), message: failure.message };
  if (suspended) return { type: "Normal", reason: "Suspended", message: `in ${phase}; everything done is kept` };
  switch (phase) {
    case "Extracting":
      return { type: "Normal", reason: phase, message: `features of ${String(pictures ?? 0)} pictures` };
    case "Training":
      return {
        type: "Normal",
        reason: phase,
        message: steps === undefined ? `on ${String(pictures ?? 0)} pictures` : `${String(steps)} steps`,
      };
    case "Complete":
      return { type: "Normal", reason: phase, message: `the result is in ${status.result?.location ?? "the store"}` };
    case "Cancelled":
      return { type: "Normal", reason: phase, message: "by request" };
    default:
      return undefined;
  }
}
