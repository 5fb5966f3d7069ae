import type { CodedError, ErrorCode } from "../../../domain/errors.js";
import { type JobStatus, pendingStatus } from "../../../domain/job/status.js";
import type { GraftJobObject, WorkerRole } from "../../../formats/kubernetes/objects.js";
import type { PodEnd, PodReport } from "../../../formats/kubernetes/pod-report.js";
import type { ObjectStore } from "../../../platform/object-store/object-store.js";
import type { KnownJob } from "../jobs.js";
import { SparePods } from "./spare-pods.js";
import { WorkerEnds } from "./worker-ends.js";

/** A GraftJob as the controller knows it. */
export interface Entry {
  resource: GraftJobObject;
  /** Undefined until it is taken up, and of one that never can be. */
  job: KnownJob | undefined;
  /** Why it never can be, and since when that is known. */
  rejected: { readonly error: CodedError; readonly atMs: number } | undefined;
  /** Resolves when taking it up was tried for the first time. */
  readonly tried: PromiseWithResolvers<void>;
  readonly ends: WorkerEnds;
  /** Pods of its workers that have not ended, by name. */
  readonly pods: Map<string, PodReport>;
  /** Pods whose end is to be recorded. */
  readonly ended: EndedPod[];
  /** What a role that is needed has waited for since a pod of it ran last, and since when on the monotonic clock. */
  readonly waits: Map<ErrorCode | "idle", number>;
  /** The status that was written last, and what the API server made of it. */
  written: { readonly wanted: string; readonly got: string; readonly atMs: number } | undefined;
  /** The state that was told last. */
  told: string | undefined;
  readonly spare: Readonly<Record<WorkerRole, SparePods>>;
}

export type EndedPod = PodReport & { readonly state: PodEnd };

export function newEntry(resource: GraftJobObject, store: ObjectStore): Entry {
  return {
    resource,
    job: undefined,
    rejected: undefined,
    tried: promiseWithResolvers(),
    ends: new WorkerEnds(store, resource.metadata.uid),
    pods: new Map(),
    ended: [],
    waits: new Map(),
    written: undefined,
    told: undefined,
    spare: { extractor: new SparePods(), trainer: new SparePods() },
  };
}

/** Undefined until it is known what becomes of it. */
export function statusOf({ job, rejected }: Entry): JobStatus | undefined {
  if (job !== undefined) return job.board.current;
  if (rejected === undefined) return undefined;
  const { code, message } = rejected.error;
  return { ...pendingStatus, phase: "Failed", endedMs: rejected.atMs, failure: { code, message } };
}

/** By the API server's own counting, where both have one. */
export function isNewer(now: GraftJobObject, before: GraftJobObject): boolean {
  const [a, b] = [now.metadata.resourceVersion ?? "", before.metadata.resourceVersion ?? ""];
  return [a, b].every((version) => /^\d+$/.test(version)) ? BigInt(a) > BigInt(b) : a !== b;
}

/** Of Node 22 on: Promise.withResolvers. */
function promiseWithResolvers(): PromiseWithResolvers<void> {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: () => void;
}
