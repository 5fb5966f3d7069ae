import type { V1Pod } from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import type { Kubernetes } from "../../platform/kubernetes/kubernetes.js";
import type { PodPort } from "../../platform/kubernetes/port-forward.js";

/** Name of the coordinator's Service, whose pods are those that lead: one, or none for a moment. */
export const COORDINATOR = "graft-coordinator";
/** Where graft's own services run where nobody says otherwise: a cluster for many, a demo. */
const SYSTEM_NAMESPACES = ["graft-system", "graft"];

/** The coordinator's Service. */
export interface Coordinator {
  readonly namespace: string;
  /** Labels of the pod that leads. */
  readonly selector: string;
  /** Of the pod: a number, or a name among its ports. */
  readonly port: number | string;
}

/** Finds the coordinator's Service. @throws CodedError CLUSTER_NOT_FOUND, CLUSTER_REFUSED */
export async function findCoordinator(kubernetes: Kubernetes, systemNamespace: string | undefined): Promise<Coordinator> {
  const namespaces = systemNamespace === undefined ? SYSTEM_NAMESPACES : [systemNamespace];
  let refused: CodedError | undefined;
  for (const namespace of namespaces) {
    try {
      const service = await kubernetes.find(`get Service ${namespace}/${COORDINATOR}`, () =>
        kubernetes.core.readNamespacedService({ namespace, name: COORDINATOR }),
      );
      if (service === undefined) continue;
      const { selector = {}, ports = [] } = service.spec ?? {};
      const port = ports.find(({ name }) => name === "grpc") ?? ports[0];
      const labels = Object.entries(selector).map(([key, value]) => `${key}=${value}`);
      if (port === undefined || labels.length === 0) continue;
      return { namespace, selector: labels.join(","), port: port.targetPort ?? port.port };
    } catch (error) {
      if (!(error instanceof CodedError && error.code === "CLUSTER_REFUSED")) throw error;
      refused ??= error;
    }
  }
  const instead = "say where graft runs with --system-namespace, or give the coordinator's address with --server HOST:PORT";
  if (refused !== undefined)
    throw new CodedError(
      "CLUSTER_REFUSED",
      `${refused.message}; missing is the right to "get" Service ${COORDINATOR} there: an administrator gives it by a Role; or ${instead}`,
      refused.details,
      refused,
    );
  throw new CodedError("CLUSTER_NOT_FOUND", `no Service ${COORDINATOR} in namespace ${namespaces.join(" or ")}; ${instead}`);
}

/** The pod that leads now. @throws CodedError SERVER_UNAVAILABLE where none does; CLUSTER_REFUSED */
export async function leaderPod(kubernetes: Kubernetes, { namespace, selector, port }: Coordinator): Promise<PodPort> {
  const { items } = await kubernetes.request(`list Pods of ${namespace} with ${selector}`, () =>
    kubernetes.core.listNamespacedPod({ namespace, labelSelector: selector }),
  );
  const pod = chooseLeader(items);
  const name = pod?.metadata?.name;
  if (pod === undefined || name === undefined)
    throw new CodedError(
      "SERVER_UNAVAILABLE",
      `no coordinator leads in namespace ${namespace}: no running pod with ${selector}; try again in a moment, or see: kubectl -n ${namespace} get pods`,
    );
  return { namespace, pod: name, port: portOf(pod, port) };
}

/** Of pods that say that they lead one that is not about to end, ready before not ready, the newest. */
export function chooseLeader(pods: readonly V1Pod[]): V1Pod | undefined {
  const running = pods.filter(({ metadata, status }) => metadata?.deletionTimestamp === undefined && status?.phase === "Running");
  const rank = (pod: V1Pod): number => (pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ? 1 : 0);
  const startedMs = (pod: V1Pod): number => pod.metadata?.creationTimestamp?.getTime() ?? 0;
  return running.sort((a, b) => rank(b) - rank(a) || startedMs(b) - startedMs(a))[0];
}

function portOf(pod: V1Pod, port: number | string): number {
  if (typeof port === "number") return port;
  const ports = pod.spec?.containers.flatMap((container) => container.ports ?? []) ?? [];
  const found = ports.find(({ name }) => name === port);
  if (found !== undefined) return found.containerPort;
  throw new CodedError(
    "CLUSTER_NOT_FOUND",
    `pod ${pod.metadata?.name ?? ""} has no port named ${port}, which Service ${COORDINATOR} names`,
  );
}
