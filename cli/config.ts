import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { CodedError } from "../domain/errors.js";
import { isS3Location, type S3Access } from "../platform/bucket/bucket.js";

/** Where features, backbones and jobs are kept, a folder or s3://bucket/prefix: the flag, else $GRAFT_STORE, else ~/.graft. */
export function storeLocation(flags: { readonly store?: string }): string {
  return absoluteLocation(flags.store ?? process.env["GRAFT_STORE"] ?? join(homedir(), ".graft"));
}

/** A folder or file in full; an address of a bucket as it is. */
export function absoluteLocation(location: string): string {
  return isS3Location(location) ? location : resolve(location);
}

/**
 * How to reach S3-compatible stores: GRAFT_S3_ENDPOINT, GRAFT_S3_ACCESS_KEY, GRAFT_S3_SECRET_KEY, GRAFT_S3_REGION. Undefined where none of them is set.
 * @throws CodedError CONFIG_INVALID where some are missing
 */
export function s3Access(): S3Access | undefined {
  const required = ["GRAFT_S3_ENDPOINT", "GRAFT_S3_ACCESS_KEY", "GRAFT_S3_SECRET_KEY"] as const;
  const [endpoint, accessKey, secretKey] = required.map((name) => process.env[name] || undefined);
  if (endpoint !== undefined && accessKey !== undefined && secretKey !== undefined) {
    const region = process.env["GRAFT_S3_REGION"] || undefined;
    return { endpoint, accessKey, secretKey, ...(region !== undefined && { region }) };
  }
  const missing = required.filter((name) => !process.env[name]);
  if (missing.length === required.length) return undefined;
  throw new CodedError("CONFIG_INVALID", `expected ${required.join(", ")} together, found no ${missing.join(" and no ")}; set all three`);
}

/** Where the coordinator is: the flag, else $GRAFT_SERVER; undefined where neither says. */
export function serverAddress(flags: { readonly server?: string }): string | undefined {
  return flags.server ?? process.env["GRAFT_SERVER"];
}

/** $GRAFT_TOKEN; undefined where it is not set. */
export function serverToken(): string | undefined {
  return process.env["GRAFT_TOKEN"] || undefined;
}

/**
 * Kubeconfig files, as kubectl finds them: the flag, else those of $KUBECONFIG, else ~/.kube/config; undefined in a pod that has none: it has a service account.
 * @throws CodedError CONFIG_INVALID where there is neither
 */
export function kubeconfigFiles(flags: { readonly kubeconfig?: string }): readonly string[] | undefined {
  if (flags.kubeconfig !== undefined) return [flags.kubeconfig];
  const listed = (process.env["KUBECONFIG"] ?? "").split(delimiter).filter((file) => file !== "");
  if (listed.length > 0) return listed;
  const usual = join(homedir(), ".kube", "config");
  if (existsSync(usual)) return [usual];
  if (process.env["KUBERNETES_SERVICE_HOST"]) return undefined;
  throw new CodedError(
    "CONFIG_INVALID",
    `no kubeconfig: expected ${usual}, $KUBECONFIG or --kubeconfig FILE; take the one that kubectl uses`,
  );
}

/** Where a cluster on this machine keeps its objects, logs and keys: the flag, else beside the store. */
export function clusterFolder(flags: { readonly folder?: string }): string {
  return resolve(flags.folder ?? join(process.env["GRAFT_STORE"] ?? join(homedir(), ".graft"), "cluster"));
}
