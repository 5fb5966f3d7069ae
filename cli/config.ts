import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where features, backbones and jobs are kept: the flag, else $GRAFT_STORE, else ~/.graft. */
export function storeFolder(flags: { readonly store?: string }): string {
  return resolve(flags.store ?? process.env["GRAFT_STORE"] ?? join(homedir(), ".graft"));
}

/** Where the coordinator is: the flag, else $GRAFT_SERVER, else this machine. */
export function serverAddress(flags: { readonly server?: string }): string {
  return flags.server ?? process.env["GRAFT_SERVER"] ?? "127.0.0.1:7070";
}

/** $GRAFT_TOKEN; undefined where it is not set. */
export function serverToken(): string | undefined {
  return process.env["GRAFT_TOKEN"] || undefined;
}

/** Where a cluster on this machine keeps its objects, logs and keys: the flag, else beside the store. */
export function clusterFolder(flags: { readonly folder?: string }): string {
  return resolve(flags.folder ?? join(process.env["GRAFT_STORE"] ?? join(homedir(), ".graft"), "cluster"));
}
