import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where features, backbones and jobs are kept: the flag, else $GRAFT_STORE, else ~/.graft. */
export function storeFolder(flags: { readonly store?: string }): string {
  return resolve(flags.store ?? process.env["GRAFT_STORE"] ?? join(homedir(), ".graft"));
}
