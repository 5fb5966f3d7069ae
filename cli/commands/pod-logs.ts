import type { V1Pod } from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import { printable } from "../../domain/job/figures.js";
import { limits } from "../../domain/limits.js";
import { systemClock } from "../../platform/clock/system.js";
import { containerLog, type LogSettings } from "../../platform/kubernetes/container-log.js";
import { interruptSignal } from "../interrupt.js";
import {
  findJob,
  hasEnded,
  listPods,
  mainContainer,
  notStarted,
  type PodSelection,
  type Role,
  roles,
  selectPods,
} from "../kubernetes/job-pods.js";
import { type ClusterAccess, openKubernetes } from "../kubernetes/open.js";
import type { ServerFlags } from "../server-flags.js";

export interface LogFlags extends ServerFlags {
  readonly events?: boolean;
  readonly role?: string;
  readonly follow?: boolean;
  readonly tail?: number;
  readonly previous?: boolean;
}

/** How often it is asked whether a job that is followed has ended. */
const ENDED_MS = 2_000;

/** `kubectl graft logs NAME`: what the pods of a job wrote, each line after the name of its pod; of ended pods too. */
export async function podLogs(name: string, flags: LogFlags): Promise<void> {
  const role = roleOf(flags.role);
  const access = await openKubernetes(flags);
  const selection = await selectPods(access, name, role, flags.systemNamespace);
  const interrupt = interruptSignal(() => new CodedError("INTERRUPTED", "no longer following; the job goes on"));
  const reader = new PodLogs(access, selection, flags);
  try {
    if (flags.follow === true && !(selection.lineWith !== undefined && selection.hasEnded))
      await followPods(access, name, selection, reader, interrupt.signal);
    else for (const pod of await listPods(access.kubernetes, selection)) await reader.print(pod, interrupt.signal);
    interrupt.signal.throwIfAborted();
  } finally {
    interrupt.release();
  }
  if (reader.printed === 0) process.stderr.write(`graft: no pod of ${name} in namespace ${selection.namespace} has a log to show\n`);
}

function roleOf(text: string | undefined): Role | undefined {
  const role = roles.find((each) => each === text);
  if (text !== undefined && role === undefined)
    throw new CodedError("USAGE_INVALID", `--role ${JSON.stringify(text)}: must be one of ${roles.join(", ")}`);
  return role;
}

/** Prints logs, and says on standard error of whom there is none. */
class PodLogs {
  /** Pods of which there was a log. */
  printed = 0;
  private readonly access: ClusterAccess;
  private readonly selection: PodSelection;
  private readonly flags: LogFlags;
  private readonly remarks = new Set<string>();

  constructor(access: ClusterAccess, selection: PodSelection, flags: LogFlags) {
    this.access = access;
    this.selection = selection;
    this.flags = flags;
  }

  async print(pod: V1Pod, signal: AbortSignal): Promise<void> {
    const name = pod.metadata?.name ?? "";
    const waits = notStarted(pod);
    if (waits !== undefined) return this.remark(name, `not started: ${waits}`);
    const container = mainContainer(pod);
    const { follow = false, tail, previous, json } = this.flags;
    const settings: LogSettings = { follow, tail, previous };
    const { namespace, lineWith } = this.selection;
    try {
      const lines = containerLog(this.access.kubernetes, { namespace, pod: name, container }, settings, systemClock, signal);
      this.printed++;
      for await (const line of lines) {
        if (lineWith !== undefined && !line.includes(lineWith)) continue;
        process.stdout.write(
          json === true
            ? `${JSON.stringify({ pod: name, container, line })}\n`
            : `[pod/${name}/${container}] ${line.split("\t").map(printable).join("\t")}\n`,
        );
      }
    } catch (error) {
      // Rights that are missing are missing for all of them; what one pod lacks (a run before this one, its object) is only its own.
      if (!(error instanceof CodedError) || error.details["status"] === 403 || error.details["status"] === 401) throw error;
      this.printed--;
      this.remark(name, error.message);
    }
  }

  remark(pod: string, message: string): void {
    const line = `graft: pod ${pod}: ${printable(message)}\n`;
    if (this.remarks.has(line)) return;
    this.remarks.add(line);
    process.stderr.write(line);
  }
}

/** Follows pods as they come, until the job has ended and each of them has said all. */
async function followPods(
  access: ClusterAccess,
  name: string,
  selection: PodSelection,
  reader: PodLogs,
  signal: AbortSignal,
): Promise<void> {
  const { kubernetes } = access;
  const done = new AbortController();
  const both = AbortSignal.any([signal, done.signal]);
  const followed = new Map<string, Promise<void>>();
  const waiting = new Map<string, V1Pod>();
  let atWork = 0;
  let failure: { readonly error: unknown } | undefined;
  const startNext = (): void => {
    for (const [uid, pod] of waiting) {
      if (atWork >= limits.logsFollowed) return reader.remark(pod.metadata?.name ?? "", "followed once another pod has ended");
      waiting.delete(uid);
      atWork++;
      const following = reader
        .print(pod, both)
        .catch((error: unknown) => {
          failure ??= { error };
          done.abort();
        })
        .finally(() => {
          atWork--;
          startNext();
        });
      followed.set(uid, following);
    }
  };
  const changed = (pod: V1Pod): void => {
    const uid = pod.metadata?.uid ?? "";
    if (followed.has(uid)) return;
    const waits = notStarted(pod);
    if (waits !== undefined) return reader.remark(pod.metadata?.name ?? "", `not started: ${waits}`);
    waiting.set(uid, pod);
    startNext();
  };
  const path = `/api/v1/namespaces/${selection.namespace}/pods`;
  const list = () => kubernetes.core.listNamespacedPod({ namespace: selection.namespace, labelSelector: selection.selector });
  const onLost = (error: unknown): void => {
    if (!(error instanceof CodedError) || error.code !== "CLUSTER_REFUSED") return; // it is watched anew
    failure ??= { error };
    done.abort();
  };
  const follower = { changed, gone: () => undefined, onLost };
  await kubernetes.follow<V1Pod>({ path, labelSelector: selection.selector, list }, follower, both);
  try {
    while (!both.aborted && !(await isOver(access, name))) await systemClock.sleep(ENDED_MS, both).catch(() => undefined);
    // A coordinator never ends: what it wrote until a moment later is all.
    if (selection.lineWith !== undefined) await systemClock.sleep(ENDED_MS, both).catch(() => undefined);
    else while (waiting.size + atWork > 0 && !both.aborted) await Promise.all(followed.values());
  } finally {
    done.abort();
  }
  await Promise.all(followed.values());
  if (failure !== undefined) throw failure.error;
}

/** Whether the job has ended or is gone. While the API server is away nobody knows. */
async function isOver({ kubernetes, namespace }: ClusterAccess, name: string): Promise<boolean> {
  try {
    return hasEnded(await findJob(kubernetes, namespace, name));
  } catch (error) {
    if (error instanceof CodedError && error.code === "CLUSTER_UNAVAILABLE") return false;
    throw error;
  }
}
