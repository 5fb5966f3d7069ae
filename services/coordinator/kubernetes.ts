import type { Logger } from "pino";
import { Counter, type Registry } from "prom-client";
import type { z } from "zod";
import { CodedError } from "../../domain/errors.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { Access } from "../../platform/access/access.js";
import { openKubernetesAccess } from "../../platform/access/kubernetes.js";
import type { S3Access } from "../../platform/bucket/bucket.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Cluster } from "../../platform/cluster/cluster.js";
import { kubernetesCluster } from "../../platform/cluster/kubernetes.js";
import { kubernetesJobResources } from "../../platform/job-resources/kubernetes.js";
import type { JobResources, NewGraftJob } from "../../platform/job-resources/job-resources.js";
import type { JobRequest } from "../../platform/job-service/job-service.js";
import { Kubernetes } from "../../platform/kubernetes/kubernetes.js";
import { kubernetesLeadership } from "../../platform/leadership/kubernetes.js";
import type { Leadership } from "../../platform/leadership/leadership.js";
import type { coordinatorConfig } from "./config.js";
import { datasetKeys, resolveGraftJob } from "./controller/resolve-graft-job.js";

export type KubernetesConfig = NonNullable<z.output<typeof coordinatorConfig>["kubernetes"]>;

/** What a coordinator on Kubernetes works with besides. */
export interface OnKubernetes {
  readonly leadership: Leadership;
  readonly resources: JobResources;
  readonly cluster: Cluster;
  readonly access: Access;
  readonly resolve: (job: Pick<NewGraftJob, "metadata" | "spec">) => ResolvedJob;
  /** The keys that a job names for its dataset. @throws CodedError DATASET_NOT_FOUND, DATASET_INVALID */
  readonly keysOf: (request: JobRequest | undefined) => Promise<S3Access>;
}

/** Puts the Kubernetes adapters together. @throws CodedError CONFIG_INVALID */
export function openKubernetes(
  config: KubernetesConfig,
  clock: Clock,
  /** Once it aborts, this coordinator may not write any more. */
  signal: AbortSignal,
  { log, metrics }: { readonly log: Logger; readonly metrics: Registry },
): OnKubernetes {
  const { kubeconfig, context, requestsPerSecond, watchNamespace, namespace, podName, leaseMs, cacheDomains, tokenAudience } = config;
  const requests = new Counter({
    name: "graft_kubernetes_requests_total",
    help: "Requests to the API server, by verb and kind",
    labelNames: ["verb", "kind"],
    registers: [metrics],
  });
  const onRequest = (what: string): void => {
    const [verb = "", ...rest] = what.split(" ");
    requests.inc({ verb, kind: rest.find((word) => /^[A-Z]/.test(word)) ?? rest[0]?.split("/").at(-1) ?? "" });
  };
  const kubernetes = Kubernetes.open({ kubeconfig, context, requestsPerSecond, clock, signal, onRequest });
  // A lease does not wait in line behind the writes of a thousand jobs.
  const forLease = Kubernetes.open({ kubeconfig, context, clock, signal, onRequest });
  const cluster = kubernetesCluster(kubernetes);
  return {
    leadership: kubernetesLeadership(forLease, {
      namespace,
      name: "graft-coordinator",
      identity: podName ?? `process-${String(process.pid)}`,
      leaseMs,
      pod: kubeconfig === undefined ? podName : undefined,
      clock,
      onLost: (error) => log.warn(error instanceof CodedError ? { code: error.code } : { err: error }, String(error)),
    }),
    resources: kubernetesJobResources(kubernetes, watchNamespace),
    cluster,
    access: openKubernetesAccess({ kubeconfig, context, audience: tokenAudience, clock, signal, onRequest }),
    resolve: (job) => resolveGraftJob(job, cacheDomains),
    async keysOf(request) {
      const secret = request?.spec.dataset?.credentialsSecret ?? "";
      const of = request?.metadata.namespace ?? "";
      const values = await cluster.datasetCredentials(of, secret);
      if (values === undefined)
        throw new CodedError(
          "DATASET_NOT_FOUND",
          `dataset.credentialsSecret: there is no Secret ${of}/${secret}; make one of type graft.dev/dataset-credentials with endpoint, accessKey and secretKey, then submit the job anew`,
        );
      return datasetKeys(`${of}/${secret}`, values);
    },
  };
}
