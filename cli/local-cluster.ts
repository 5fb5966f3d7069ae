import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { S3Access } from "../platform/bucket/bucket.js";
import { CodedError } from "../domain/errors.js";
import { systemClock } from "../platform/clock/system.js";
import { type ProcessIdentity, systemProcesses } from "../platform/job-store/processes.js";
import { clusterFolder } from "./config.js";

/** With who it is besides its id, which another process may have by the time that it is ended. */
export interface ClusterProcess extends ProcessIdentity {
  readonly name: string;
  readonly address: string;
  readonly log: string;
}

/** What `graft cluster up` started on this machine. */
export interface LocalCluster {
  readonly server: string;
  readonly store: string;
  readonly s3: S3Access;
  readonly nats: string;
  readonly processes: readonly ClusterProcess[];
}

export const CLUSTER_FILE = "cluster.json";

/** Undefined where none is up. */
export async function localCluster(folder: string = clusterFolder({})): Promise<LocalCluster | undefined> {
  const text = await readFile(join(folder, CLUSTER_FILE), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as LocalCluster);
}

/** What a process has, from SIGTERM on, before it is ended at once. */
const STOP_MS = 30_000;
const POLL_MS = 50;

/**
 * Ends processes of this machine one after the other, each by its id and only while the id is still its own. Returns how many there were to end.
 * @throws CodedError USAGE_INVALID where they run on another machine
 */
export async function endProcesses(processes: readonly ProcessIdentity[]): Promise<number> {
  const elsewhere = processes.find(({ host }) => host !== hostname());
  if (elsewhere !== undefined)
    throw new CodedError("USAGE_INVALID", `the cluster was started on ${elsewhere.host}, this is ${hostname()}; end it there`);
  let ended = 0;
  for (const identity of processes) {
    if (!(await systemProcesses.isAlive(identity))) continue;
    ended++;
    signalTo(identity, "SIGTERM");
    for (let waitedMs = 0; waitedMs < STOP_MS && (await systemProcesses.isAlive(identity)); waitedMs += POLL_MS)
      await systemClock.sleep(POLL_MS);
    if (await systemProcesses.isAlive(identity)) signalTo(identity, "SIGKILL");
  }
  return ended;
}

function signalTo({ pid }: ProcessIdentity, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error; // it has ended by itself
  }
}
