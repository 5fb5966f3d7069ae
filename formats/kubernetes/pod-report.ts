import type { V1ContainerStatus, V1Pod } from "@kubernetes/client-node";
import type { ErrorCode } from "../../domain/errors.js";
import { errorCodes } from "../../domain/errors.js";
import { COMPONENT_LABEL, isWorkerRole, JOB_UID_LABEL, type WorkerRole } from "./objects.js";
import { WORKER_CONTAINER } from "./worker-job.js";

/** What has become of a worker's pod, for decisions and for people. */
export interface PodReport {
  readonly name: string;
  readonly uid: string;
  readonly jobUid: string;
  readonly role: WorkerRole;
  readonly state: PodState;
}

export type PodState =
  /** Not running yet. `code`: what a job that waits in vain for it fails with; undefined while it is on its way as usual. */
  { readonly kind: "waiting"; readonly code: ErrorCode | undefined; readonly message: string } | { readonly kind: "running" } | PodEnd;

export interface PodEnd {
  readonly kind: "ended";
  /** done: its job has ended; interrupted: somebody moved or stopped it, which is no failure. */
  readonly end: "done" | "interrupted" | "failed" | "outOfMemory";
  readonly message: string;
}

/** Reasons why a container cannot get its image. */
const IMAGE_REASONS = new Set([
  "ErrImagePull",
  "ImagePullBackOff",
  "InvalidImageName",
  "ErrImageNeverPull",
  "ImageInspectError",
  "RegistryUnavailable",
]);
/** Reasons while all is well. */
const ON_ITS_WAY = new Set(["ContainerCreating", "PodInitializing"]);
const MESSAGE_MAX = 1_500;

/** Undefined of a pod that is no worker. `isGone`: it was deleted; nothing more will be heard of it. */
export function podReport(pod: V1Pod, isGone = false): PodReport | undefined {
  const { name, uid, labels } = pod.metadata ?? { name: undefined, uid: undefined, labels: undefined };
  const role = labels?.[COMPONENT_LABEL];
  const jobUid = labels?.[JOB_UID_LABEL];
  if (name === undefined || uid === undefined || jobUid === undefined || !isWorkerRole(role)) return undefined;
  return { name, uid, jobUid, role, state: stateOf(pod, isGone) };
}

function stateOf(pod: V1Pod, isGone: boolean): PodState {
  const container = pod.status?.containerStatuses?.find(({ name }) => name === WORKER_CONTAINER);
  const ended = container?.state?.terminated ?? undefined;
  const disruption = pod.status?.conditions?.find(({ type, status }) => type === "DisruptionTarget" && status === "True");
  const why = disruption === undefined ? undefined : `${disruption.reason ?? "disrupted"}: ${disruption.message ?? ""}`;
  if (ended !== undefined) return endOf(ended, pod, why);
  const { phase, reason, message } = pod.status ?? {};
  if (phase === "Succeeded") return { kind: "ended", end: "done", message: "exit code 0" };
  if (phase === "Failed") {
    // Evicted, or refused by the node, before a container could say anything.
    const text = clip([reason, message].filter((part) => part !== undefined && part !== "").join(": ") || "failed without a reason");
    return {
      kind: "ended",
      end: why === undefined && reason !== "Evicted" && reason !== "Preempting" ? "failed" : "interrupted",
      message: text,
    };
  }
  if (isGone) return { kind: "ended", end: "interrupted", message: why ?? "its pod was deleted" };
  if (container?.state?.running !== undefined) return { kind: "running" };
  return waitingOf(pod, container);
}

function endOf(ended: NonNullable<NonNullable<V1ContainerStatus["state"]>["terminated"]>, pod: V1Pod, why: string | undefined): PodEnd {
  const { exitCode, reason, signal, message } = ended;
  const lines = clip((message ?? "").trim());
  const said = lines === "" ? "" : `; its last lines: ${lines}`;
  if (exitCode === 0) return { kind: "ended", end: "done", message: "exit code 0" };
  if (reason === "OOMKilled") {
    const limit = pod.spec?.containers.find(({ name }) => name === WORKER_CONTAINER)?.resources?.limits?.["memory"];
    return { kind: "ended", end: "outOfMemory", message: `out of memory: it was ended for using more than ${limit ?? "the node has"}` };
  }
  const how = `exit code ${String(exitCode)}${signal === undefined ? signalOf(exitCode) : `, signal ${String(signal)}`}`;
  if (why !== undefined) return { kind: "ended", end: "interrupted", message: `${how}; ${why}` };
  if (pod.metadata?.deletionTimestamp !== undefined) return { kind: "ended", end: "interrupted", message: `${how}; its pod was deleted` };
  if (exitCode === errorCodes.INTERRUPTED.exitCode || exitCode === 128 + 15)
    return { kind: "ended", end: "interrupted", message: `${how}: it was told to stop` };
  return { kind: "ended", end: "failed", message: `${how}${said}` };
}

function waitingOf(pod: V1Pod, container: V1ContainerStatus | undefined): PodState {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
  if (scheduled?.status === "False" && scheduled.reason !== "SchedulingGated") {
    return {
      kind: "waiting",
      code: "WORKERS_UNSCHEDULABLE",
      message: `no node takes it: ${clip(scheduled.message ?? scheduled.reason ?? "")}`,
    };
  }
  const waiting = container?.state?.waiting;
  const reason = waiting?.reason ?? "";
  if (IMAGE_REASONS.has(reason)) {
    const image = pod.spec?.containers.find(({ name }) => name === WORKER_CONTAINER)?.image ?? "";
    return { kind: "waiting", code: "IMAGE_PULL_FAILED", message: `image ${image}: ${reason}: ${clip(waiting?.message ?? "")}` };
  }
  if (reason !== "" && !ON_ITS_WAY.has(reason))
    return { kind: "waiting", code: "WORKERS_NOT_STARTED", message: `${reason}: ${clip(waiting?.message ?? "")}` };
  return {
    kind: "waiting",
    code: undefined,
    message: reason === "" ? "its pod is being placed" : `its container is being made (${reason})`,
  };
}

function signalOf(exitCode: number): string {
  return exitCode === 128 + 9 ? " (SIGKILL)" : exitCode === 128 + 11 ? " (SIGSEGV)" : exitCode === 128 + 6 ? " (SIGABRT)" : "";
}

function clip(text: string): string {
  return text.length <= MESSAGE_MAX ? text : `…${text.slice(text.length - MESSAGE_MAX)}`;
}
