import { CodedError } from "../../domain/errors.js";
import { systemClock } from "../../platform/clock/system.js";
import { Kubernetes } from "../../platform/kubernetes/kubernetes.js";
import { kubeconfigFiles } from "../config.js";
import type { KubernetesFlags } from "../server-flags.js";

/** A cluster, and the namespace that is meant. */
export interface ClusterAccess {
  readonly kubernetes: Kubernetes;
  readonly namespace: string;
}

/** The cluster that flags and kubeconfig name. @throws CodedError CONFIG_INVALID */
export async function openKubernetes(flags: KubernetesFlags): Promise<ClusterAccess> {
  const kubernetes = Kubernetes.open({ kubeconfig: kubeconfigFiles(flags), context: flags.context, clock: systemClock });
  return { kubernetes, namespace: checkedName(flags.namespace) ?? (await kubernetes.namespace()) };
}

/** Names of namespaces become parts of addresses. */
function checkedName(namespace: string | undefined): string | undefined {
  if (namespace === undefined || /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) return namespace;
  throw new CodedError("USAGE_INVALID", `--namespace ${JSON.stringify(namespace)}: a namespace has small letters, digits and "-" only`);
}
