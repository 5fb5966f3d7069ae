import type { V1Job, V1Pod } from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import { MANAGED_BY, type WorkerRole, workerRoles } from "../../formats/kubernetes/objects.js";
import { podReport } from "../../formats/kubernetes/pod-report.js";
import { type Kubernetes, keyOf, mergePatch } from "../kubernetes/kubernetes.js";
import type { Cluster } from "./cluster.js";

/** The type of Secrets that may be used as keys to a dataset: no other Secret of a namespace is ever read. */
const CREDENTIALS_TYPE = "graft.dev/dataset-credentials";

const labelSelector = Object.entries(MANAGED_BY)
  .map(([label, value]) => `${label}=${value}`)
  .join(",");

/** Workers as pods of batch Jobs. */
export function kubernetesCluster(kubernetes: Kubernetes): Cluster {
  const { batch, core } = kubernetes;
  const nameOf = (job: V1Job): string => {
    const { namespace, name } = job.metadata as { readonly namespace: string; readonly name: string };
    return `${namespace}/${name}`;
  };
  const at = (job: V1Job) => job.metadata as { readonly namespace: string; readonly name: string };
  return {
    async follow(namespace, { jobChanged, jobGone, podChanged, onLost }, signal) {
      const jobs = kubernetes.follow<V1Job>(
        {
          path: `/apis/batch/v1/namespaces/${namespace}/jobs`,
          labelSelector,
          list: () => batch.listNamespacedJob({ namespace, labelSelector }),
        },
        { changed: jobChanged, gone: jobGone, onLost },
        signal,
      );
      const tell = (isGone: boolean) => (pod: V1Pod) => {
        const report = podReport(pod, isGone);
        if (report !== undefined) podChanged(report, isGone);
      };
      const pods = kubernetes.follow<V1Pod>(
        {
          path: `/api/v1/namespaces/${namespace}/pods`,
          labelSelector,
          list: () => core.listNamespacedPod({ namespace, labelSelector }),
        },
        { changed: tell(false), gone: tell(true), onLost },
        signal,
      );
      await Promise.all([jobs, pods]);
    },
    async template(namespace, role: WorkerRole) {
      const name = workerRoles[role];
      const found = await kubernetes.find(`read PodTemplate ${namespace}/${name}`, () =>
        core.readNamespacedPodTemplate({ namespace, name }),
      );
      return found?.template;
    },
    async createWorkers(job) {
      await kubernetes.request(`create Job ${nameOf(job)}`, () => batch.createNamespacedJob({ namespace: at(job).namespace, body: job }));
    },
    async scaleWorkers(job, count, suspended) {
      const body = { spec: { parallelism: count, suspend: suspended } };
      const { namespace, name } = at(job);
      await kubernetes.request(`scale Job ${nameOf(job)}`, () => batch.patchNamespacedJob({ namespace, name, body }, mergePatch));
    },
    async deleteWorkers(job) {
      const { namespace, name, uid } = keyOf(job);
      await kubernetes.find(`delete Job ${nameOf(job)}`, () =>
        batch.deleteNamespacedJob({ namespace, name, body: { propagationPolicy: "Foreground", preconditions: { uid } } }),
      );
    },
    async datasetCredentials(namespace, secret) {
      const found = await kubernetes.find(`read Secret ${namespace}/${secret}`, () =>
        core.readNamespacedSecret({ namespace, name: secret }),
      );
      if (found === undefined) return undefined;
      if (found.type !== CREDENTIALS_TYPE)
        throw new CodedError(
          "CLUSTER_REFUSED",
          `Secret ${namespace}/${secret} has type ${found.type ?? "none"}; keys to a dataset are in Secrets of type ${CREDENTIALS_TYPE}, and no other is read`,
        );
      return new Map(Object.entries(found.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]));
    },
  };
}
