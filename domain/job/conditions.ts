import type { ErrorCode } from "../errors.js";
import type { JobCondition } from "./resource.js";
import type { JobStatus } from "./status.js";
import { isFinal } from "./transitions.js";

/**
 * The conditions of a job. `Complete` and `Failed` as batch/v1 Job has them, so that `kubectl wait` works; `Progressing` says why a job stands still, `Suspended` whether by request.
 * docs/kubernetes.md lists every reason.
 */
export function conditionsOf(status: JobStatus): readonly JobCondition[] {
  const { phase, suspended, endedMs } = status;
  const suspension: JobCondition = suspended
    ? { type: "Suspended", status: "True", reason: "Suspended", message: "by request; everything done is kept" }
    : { type: "Suspended", status: "False", reason: "NotSuspended", message: "" };
  const stands = progressing(status);
  if (!isFinal(phase)) return [stands, suspension];
  const at = endedMs === undefined ? {} : { lastTransitionTime: new Date(endedMs).toISOString() };
  const end: JobCondition =
    phase === "Complete"
      ? { type: "Complete", status: "True", reason: "Complete", message: "the result is whole", ...at }
      : { ...stands, type: "Failed", status: "True", ...at };
  return [end, stands, suspension];
}

function progressing({ phase, suspended, failure, workers }: JobStatus): JobCondition {
  const type = "Progressing";
  if (phase === "Complete") return { type, status: "False", reason: "Complete", message: "the result is whole" };
  if (failure !== null) return { type, status: "False", reason: reasonOf(failure.code), message: failure.message };
  if (isFinal(phase)) return { type, status: "False", reason: phase, message: "by request" };
  if (suspended) return { type, status: "False", reason: "Suspended", message: "by request; everything done is kept" };
  if (workers?.blocked !== undefined)
    return { type, status: "False", reason: reasonOf(workers.blocked.code), message: workers.blocked.message };
  return { type, status: "True", reason: phase, message: workers?.remark ?? "" };
}

/** As programs of Kubernetes want it: `IMAGE_PULL_FAILED` becomes `ImagePullFailed`. */
export function reasonOf(code: ErrorCode | (string & {})): string {
  return code
    .toLowerCase()
    .split("_")
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");
}

/** The conditions as they are written beside those that stand there: `lastTransitionTime` changes with `status` only. */
export function mergeConditions(
  before: readonly JobCondition[],
  now: readonly JobCondition[],
  { time, generation }: { readonly time: string; readonly generation: number | undefined },
): readonly JobCondition[] {
  return now.map((condition) => {
    const earlier = before.find(({ type }) => type === condition.type);
    const since = earlier?.status === condition.status ? earlier.lastTransitionTime : condition.lastTransitionTime;
    return { ...condition, lastTransitionTime: since ?? time, ...(generation !== undefined && { observedGeneration: generation }) };
  });
}
