import type { JobMetadata, JobResourceStatus } from "../../domain/job/resource.js";
import type { JobSpec } from "../../domain/job/spec.js";

export type { V1Job, V1Pod, V1PodTemplateSpec } from "@kubernetes/client-node";

/** The parts of Kubernetes' objects that graft reads or writes, as JSON; what else they hold is handed on as it is. */

export const GROUP = "graft.dev";
export const VERSION = "v1alpha1";
export const PLURAL = "graftjobs";
/** Keeps a deleted GraftJob until its workers and objects are gone. */
export const FINALIZER = "graft.dev/job";

/** On every object that the coordinator makes. */
export const MANAGED_BY = { "app.kubernetes.io/managed-by": "graft-coordinator" } as const;
export const JOB_UID_LABEL = "graft.dev/job-uid";
export const JOB_NAME_LABEL = "graft.dev/job";
export const COMPONENT_LABEL = "app.kubernetes.io/component";
/** Kueue's: passed on from a GraftJob to the Jobs of its workers. */
export const QUEUE_LABEL = "kueue.x-k8s.io/queue-name";

/** A GraftJob as the API server has it. */
export interface GraftJobObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: JobMetadata & {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
  };
  readonly spec: JobSpec;
  readonly status?: Partial<JobResourceStatus>;
}

/** What a worker is to its job, and the name of the PodTemplate that it is made from. */
export const workerRoles = { extractor: "graft-extractor", trainer: "graft-trainer" } as const;
export type WorkerRole = keyof typeof workerRoles;

export function isWorkerRole(text: string | undefined): text is WorkerRole {
  return text !== undefined && Object.hasOwn(workerRoles, text);
}

/** `flowers-extractors`; of a long name a part, with the uid's beginning so that two jobs never share one. */
export function workerJobName({ name, uid }: { readonly name: string; readonly uid: string }, role: WorkerRole): string {
  const suffix = `-${role}s`;
  const whole = `${name}${suffix}`;
  // A pod's name has six characters more, and its label as many as 63 in all.
  return whole.length <= 57 ? whole : `${name.slice(0, 57 - suffix.length - 9)}-${uid.slice(0, 8)}${suffix}`;
}
