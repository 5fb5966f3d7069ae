import type { CoreV1Event, KubernetesListObject, KubernetesObject } from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { FINALIZER, GROUP, type GraftJobObject, PLURAL, VERSION } from "../../formats/kubernetes/objects.js";
import { type Kubernetes, mergePatch } from "../kubernetes/kubernetes.js";
import type { JobName, JobResources } from "./job-resources.js";

/** Tries of a write that others come before. */
const CONFLICTS_MAX = 5;
/** What an event may say. */
const EVENT_MESSAGE_MAX = 1_024;

/** The GraftJobs of the API server: of all namespaces, or of one. */
export function kubernetesJobResources(kubernetes: Kubernetes, watched?: string): JobResources {
  const { custom, core } = kubernetes;
  const kind = { group: GROUP, version: VERSION, plural: PLURAL };
  const path = `/apis/${GROUP}/${VERSION}${watched === undefined ? "" : `/namespaces/${watched}`}/${PLURAL}`;
  const named = ({ namespace, name }: JobName) => ({ ...kind, namespace, name });
  const read = (name: JobName): Promise<GraftJobObject | undefined> =>
    kubernetes.find(`read GraftJob ${textOf(name)}`, async () => (await custom.getNamespacedCustomObject(named(name))) as GraftJobObject);
  const patch = (name: JobName, body: object): Promise<GraftJobObject> =>
    kubernetes.request(
      `change GraftJob ${textOf(name)}`,
      async () => (await custom.patchNamespacedCustomObject({ ...named(name), body }, mergePatch)) as GraftJobObject,
    );
  const setFinalizers = async (job: GraftJobObject, change: (finalizers: readonly string[]) => readonly string[]): Promise<void> => {
    let stands: GraftJobObject | undefined = job;
    for (let attempt = 1; stands?.metadata.uid === job.metadata.uid; attempt++) {
      const { finalizers = [], resourceVersion } = stands.metadata;
      const wanted = change(finalizers);
      if (wanted.length === finalizers.length) return;
      try {
        await patch(job.metadata, { metadata: { finalizers: wanted, resourceVersion } });
        return;
      } catch (error) {
        if (isCode(error, "CLUSTER_NOT_FOUND")) return;
        if (!isCode(error, "CLUSTER_CONFLICT") || attempt >= CONFLICTS_MAX) throw error;
        stands = await read(job.metadata);
      }
    }
  };
  return {
    follow: (follower, signal) =>
      kubernetes.follow<KubernetesObject>(
        {
          path,
          list: async () =>
            (await (watched === undefined
              ? custom.listClusterCustomObject(kind)
              : custom.listNamespacedCustomObject({ ...kind, namespace: watched }))) as KubernetesListObject<KubernetesObject>,
        },
        {
          changed: (job) => follower.changed(job as unknown as GraftJobObject),
          gone: (job) => follower.gone(job as unknown as GraftJobObject),
          onLost: follower.onLost,
        },
        signal,
      ),
    create: (job) =>
      kubernetes.request(
        `create GraftJob ${textOf(job.metadata)}`,
        async () =>
          (await custom.createNamespacedCustomObject({
            ...kind,
            namespace: job.metadata.namespace,
            body: { apiVersion: `${GROUP}/${VERSION}`, kind: "GraftJob", ...job },
          })) as GraftJobObject,
      ),
    read,
    async writeStatus(job, status) {
      let stands: GraftJobObject | undefined = job;
      for (let attempt = 1; stands?.metadata.uid === job.metadata.uid; attempt++) {
        const body = { ...stands, status: status(stands) };
        try {
          return await kubernetes.request(
            `write the status of GraftJob ${textOf(job.metadata)}`,
            async () => (await custom.replaceNamespacedCustomObjectStatus({ ...named(job.metadata), body })) as GraftJobObject,
          );
        } catch (error) {
          if (isCode(error, "CLUSTER_NOT_FOUND")) return undefined;
          if (!isCode(error, "CLUSTER_CONFLICT") || attempt >= CONFLICTS_MAX) throw error;
          stands = await read(job.metadata);
        }
      }
      return undefined;
    },
    setSuspend: (name, suspend) => patch(name, { spec: { suspend } }),
    hold: (job) => setFinalizers(job, (finalizers) => (finalizers.includes(FINALIZER) ? finalizers : [...finalizers, FINALIZER])),
    release: (job) => setFinalizers(job, (finalizers) => finalizers.filter((each) => each !== FINALIZER)),
    async delete(name) {
      await kubernetes.find(`delete GraftJob ${textOf(name)}`, () => custom.deleteNamespacedCustomObject(named(name)));
    },
    async tell(job, { type, reason, message }) {
      const { name, namespace, uid } = job.metadata;
      const text = message.length <= EVENT_MESSAGE_MAX ? message : `${message.slice(0, EVENT_MESSAGE_MAX - 1)}…`;
      const now = new Date();
      const event = {
        metadata: { name: `${name.slice(0, 200)}.${sha256Hex(Buffer.from(`${uid} ${reason} ${text}`)).slice(0, 16)}`, namespace },
        involvedObject: { apiVersion: job.apiVersion, kind: job.kind, name, namespace, uid },
        type,
        reason,
        message: text,
        source: { component: "graft-coordinator" },
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
      } as CoreV1Event;
      await kubernetes
        .request(`create an Event of GraftJob ${textOf(job.metadata)}`, () => core.createNamespacedEvent({ namespace, body: event }))
        .catch((error: unknown) => {
          if (!isCode(error, "CLUSTER_CONFLICT")) throw error;
        });
    },
  };
}

function isCode(error: unknown, code: CodedError["code"]): boolean {
  return error instanceof CodedError && error.code === code;
}

function textOf({ namespace, name }: JobName): string {
  return `${namespace}/${name}`;
}
