import { CodedError } from "../../domain/errors.js";
import {
  COMPONENT_LABEL,
  type GraftJobObject,
  GROUP,
  JOB_UID_LABEL,
  PLURAL,
  type V1Pod,
  VERSION,
} from "../../formats/kubernetes/objects.js";
import type { Kubernetes } from "../../platform/kubernetes/kubernetes.js";
import { COORDINATOR, findCoordinator } from "./leader.js";
import type { ClusterAccess } from "./open.js";

export const roles = ["extractor", "trainer", "coordinator"] as const;
export type Role = (typeof roles)[number];

/** Whose pods are meant. */
export interface PodSelection {
  readonly namespace: string;
  readonly selector: string;
  /** Whether the job had when it was looked up. */
  readonly hasEnded: boolean;
  /** Only lines with this text are the job's: the coordinator works for all jobs. */
  readonly lineWith?: string;
}

/** A job by name, or by id where its object is gone. Undefined where there is none. */
export function findJob(kubernetes: Kubernetes, namespace: string, name: string): Promise<GraftJobObject | undefined> {
  return kubernetes.find(
    `get GraftJob ${namespace}/${name}`,
    async () =>
      (await kubernetes.custom.getNamespacedCustomObject({
        group: GROUP,
        version: VERSION,
        plural: PLURAL,
        namespace,
        name,
      })) as GraftJobObject,
  );
}

/** Whether nothing more will run for it. */
export function hasEnded(job: GraftJobObject | undefined): boolean {
  return job === undefined || ["COMPLETE", "FAILED", "CANCELLED"].includes(job.status?.phase ?? "");
}

/** The pods of a role of a job, or of both roles of its workers. @throws CodedError JOB_NOT_FOUND where there is neither the job nor a pod of it */
export async function selectPods(
  { kubernetes, namespace }: ClusterAccess,
  name: string,
  role: Role | undefined,
  systemNamespace: string | undefined,
): Promise<PodSelection> {
  const job = await findJob(kubernetes, namespace, name);
  const uid = job?.metadata.uid ?? name;
  if (role === "coordinator") {
    if (job === undefined) throw notFound(namespace, name);
    const coordinator = await findCoordinator(kubernetes, systemNamespace);
    // All that stand by, too: the one that leads may have changed while the job ran.
    const labels = coordinator.selector.split(",").filter((label) => !label.startsWith("graft.dev/leader="));
    return { namespace: coordinator.namespace, selector: labels.join(","), lineWith: uid, hasEnded: hasEnded(job) };
  }
  const selector = [`${JOB_UID_LABEL}=${uid}`, ...(role === undefined ? [] : [`${COMPONENT_LABEL}=${role}`])].join(",");
  const selection = { namespace, selector, hasEnded: hasEnded(job) };
  if (job === undefined && (!isLabelValue(uid) || (await listPods(kubernetes, selection)).length === 0)) throw notFound(namespace, name);
  return selection;
}

/** Oldest first. */
export async function listPods(kubernetes: Kubernetes, { namespace, selector }: PodSelection): Promise<readonly V1Pod[]> {
  const { items } = await kubernetes.request(`list Pods of ${namespace} with ${selector}`, () =>
    kubernetes.core.listNamespacedPod({ namespace, labelSelector: selector }),
  );
  const createdMs = (pod: V1Pod): number => pod.metadata?.creationTimestamp?.getTime() ?? 0;
  return items.sort((a, b) => createdMs(a) - createdMs(b));
}

function isLabelValue(text: string): boolean {
  return /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(text);
}

function notFound(namespace: string, name: string): CodedError {
  return new CodedError(
    "JOB_NOT_FOUND",
    `no GraftJob ${name} in namespace ${namespace}; list them with: kubectl get graftjobs -n ${namespace}`,
  );
}

/** The container whose log counts. */
export function mainContainer(pod: V1Pod): string {
  const names = pod.spec?.containers.map(({ name }) => name) ?? [];
  return ["worker", "coordinator", COORDINATOR].find((name) => names.includes(name)) ?? names[0] ?? "";
}

/** Why a pod has no log yet; undefined once its container was started. */
export function notStarted(pod: V1Pod): string | undefined {
  const { state, lastState } = pod.status?.containerStatuses?.find(({ name }) => name === mainContainer(pod)) ?? {};
  if (state?.running !== undefined || state?.terminated !== undefined || lastState?.terminated !== undefined) return undefined;
  const scheduled = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
  const why =
    scheduled?.status === "False"
      ? [scheduled.reason, scheduled.message]
      : [state?.waiting?.reason ?? pod.status?.phase, state?.waiting?.message];
  return why.filter((text) => text !== undefined && text !== "").join(": ");
}
