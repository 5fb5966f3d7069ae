import type { V1Container, V1Job, V1PodSpec, V1PodTemplateSpec } from "@kubernetes/client-node";
import { canonicalJson } from "../../domain/canonical-json.js";
import { errorCodes } from "../../domain/errors.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { PodSpec } from "../../domain/job/spec.js";
import {
  COMPONENT_LABEL,
  type GraftJobObject,
  JOB_NAME_LABEL,
  JOB_UID_LABEL,
  MANAGED_BY,
  QUEUE_LABEL,
  workerJobName,
  type WorkerRole,
} from "./objects.js";

/** The container of a PodTemplate that is the worker. */
export const WORKER_CONTAINER = "worker";
/** Where a worker finds the keys to the dataset. */
const DATASET_VOLUME = "graft-dataset";
const DATASET_PATH = "/var/run/graft/dataset";
/** Which overrides the pods were made with: others mean another Job. */
const OVERRIDES_ANNOTATION = "graft.dev/pod-overrides";
/** Kubernetes never gives up on the workers: the coordinator counts failures, which it can tell from interruptions. */
const NEVER_GIVE_UP = 1_000_000;
const KILLED_BY_SIGTERM = 143;

/** What is wanted of the workers of one role. */
export interface WorkerGroup {
  readonly role: WorkerRole;
  readonly engine: string;
  readonly count: number;
  readonly suspended: boolean;
}

/**
 * The batch/v1 Job whose pods are the workers of one role of a job. Pure: the same inputs give the same object.
 * It has no completions: a worker ends with exit code 0 only when its job has ended.
 */
export function workerJob(job: GraftJobObject, template: V1PodTemplateSpec, group: WorkerGroup): V1Job {
  const { name, namespace, uid } = job.metadata;
  const { role, count, suspended } = group;
  const own = {
    "app.kubernetes.io/name": "graft",
    [COMPONENT_LABEL]: role,
    "app.kubernetes.io/part-of": "graft",
    ...MANAGED_BY,
    [JOB_NAME_LABEL]: name.slice(0, 63),
    [JOB_UID_LABEL]: uid,
  };
  const pod = job.spec[`${role}s`]?.pod ?? {};
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: workerJobName(job.metadata, role),
      namespace,
      labels: { ...own, ...queueLabels(job, role) },
      annotations: { [OVERRIDES_ANNOTATION]: overridesDigest(job, role) },
      ownerReferences: [{ apiVersion: job.apiVersion, kind: job.kind, name, uid, controller: true, blockOwnerDeletion: true }],
    },
    spec: {
      parallelism: count,
      // Kueue starts what waits in its queues.
      suspend: suspended || isQueued(job, role),
      backoffLimit: NEVER_GIVE_UP,
      podFailurePolicy: {
        rules: [
          { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
          {
            action: "Ignore",
            onExitCodes: { containerName: WORKER_CONTAINER, operator: "In", values: [errorCodes.INTERRUPTED.exitCode, KILLED_BY_SIGTERM] },
          },
        ],
      },
      template: {
        metadata: {
          ...template.metadata,
          labels: { ...pod.labels, ...template.metadata?.labels, ...own },
          annotations: { ...pod.annotations, ...template.metadata?.annotations },
        },
        spec: podSpec(job, template.spec ?? { containers: [] }, pod, group),
      },
    },
  };
}

/** Whether Kueue decides when the workers may run. Their number and whether they are suspended is then not changed any more. */
export function isQueued(job: GraftJobObject, role: WorkerRole): boolean {
  return queueLabels(job, role)[QUEUE_LABEL] !== undefined;
}

function queueLabels({ metadata, spec }: GraftJobObject, role: WorkerRole): Readonly<Record<string, string>> {
  const labels = Object.entries({ ...metadata.labels, ...spec[`${role}s`]?.pod?.labels });
  return Object.fromEntries(labels.filter(([label]) => label.startsWith("kueue.x-k8s.io/")));
}

/** Whether the Job that stands there was made for other pods than are wanted now, so that it has to make way. */
export function isOfOtherPods(job: GraftJobObject, role: WorkerRole, stands: V1Job): boolean {
  return stands.metadata?.annotations?.[OVERRIDES_ANNOTATION] !== overridesDigest(job, role);
}

/** Of a job's own overrides only: an operator's new PodTemplate is for the jobs that begin after it. */
function overridesDigest({ spec }: GraftJobObject, role: WorkerRole): string {
  const of = { pod: spec[`${role}s`]?.pod ?? {}, secret: spec.dataset?.credentialsSecret ?? "" };
  return sha256Hex(Buffer.from(canonicalJson(of))).slice(0, 16);
}

function podSpec(job: GraftJobObject, template: V1PodSpec, pod: PodSpec, group: WorkerGroup): V1PodSpec {
  const secret = job.spec.dataset?.credentialsSecret;
  const readsDataset = group.role === "extractor" && secret !== undefined;
  return {
    ...template,
    restartPolicy: "Never",
    ...(pod.nodeSelector !== undefined && { nodeSelector: { ...template.nodeSelector, ...pod.nodeSelector } }),
    ...(pod.tolerations !== undefined && { tolerations: [...(template.tolerations ?? []), ...pod.tolerations] }),
    ...(pod.affinity !== undefined && { affinity: pod.affinity }),
    ...(pod.priorityClassName !== undefined && { priorityClassName: pod.priorityClassName }),
    ...(pod.runtimeClassName !== undefined && { runtimeClassName: pod.runtimeClassName }),
    ...(pod.serviceAccountName !== undefined && { serviceAccountName: pod.serviceAccountName }),
    ...(pod.imagePullSecrets !== undefined && {
      imagePullSecrets: [...(template.imagePullSecrets ?? []), ...pod.imagePullSecrets.map((name) => ({ name }))],
    }),
    ...(readsDataset && { volumes: [...(template.volumes ?? []), { name: DATASET_VOLUME, secret: { secretName: secret } }] }),
    containers: template.containers.map((container) =>
      container.name === WORKER_CONTAINER ? worker(container, job.metadata.uid, pod, group, readsDataset) : container,
    ),
  };
}

function worker(container: V1Container, jobUid: string, pod: PodSpec, { engine }: WorkerGroup, readsDataset: boolean): V1Container {
  const { requests, limits } = pod.resources ?? {};
  return {
    ...container,
    // What Kubernetes keeps of a container that failed: the last lines of its log.
    terminationMessagePolicy: "FallbackToLogsOnError",
    args: [
      ...(container.args ?? []),
      "--name",
      "$(POD_NAME)",
      "--job",
      jobUid,
      "--engine",
      engine,
      ...(readsDataset ? ["--dataset-credentials", DATASET_PATH] : []),
    ],
    env: [
      ...(container.env ?? []),
      ...Object.entries(pod.env ?? {}).map(([name, value]) => ({ name, value })),
      ...(container.env?.some(({ name }) => name === "POD_NAME") === true
        ? []
        : [{ name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }]),
    ],
    ...(readsDataset && {
      volumeMounts: [...(container.volumeMounts ?? []), { name: DATASET_VOLUME, mountPath: DATASET_PATH, readOnly: true }],
    }),
    ...((requests ?? limits) !== undefined && {
      resources: {
        ...container.resources,
        requests: { ...container.resources?.requests, ...requests },
        limits: { ...container.resources?.limits, ...limits },
      },
    }),
  };
}
