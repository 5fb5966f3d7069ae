import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { S3Access } from "../platform/bucket/bucket.js";
import { clusterFolder } from "./config.js";

export interface ClusterProcess {
  readonly name: string;
  readonly pid: number;
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
