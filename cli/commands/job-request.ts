import { randomUUID } from "node:crypto";
import { basename, extname, isAbsolute } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { applyOverrides } from "../../domain/job/override.js";
import type { JobRequest } from "../../platform/job-service/job-service.js";
import { programName } from "../program-name.js";
import { usesKubernetes } from "../server-access.js";
import type { ServerFlags } from "../server-flags.js";
import { uploadFolder } from "../upload.js";
import { readJobFile } from "./job-file.js";

export interface RequestFlags extends ServerFlags {
  readonly upload?: string;
  readonly to?: string;
  readonly name?: string;
  readonly [jobFlag: string]: unknown;
}

/** The job that a file and flags describe, and the flags with which a server is asked about it: on Kubernetes the job's namespace is that of the file, else the one that is meant. */
export async function jobRequest(
  command: "submit" | "plan",
  file: string | undefined,
  flags: RequestFlags,
): Promise<{ readonly request: JobRequest; readonly serverFlags: ServerFlags }> {
  if (file === undefined && flags.upload === undefined && flags["dataset"] === undefined)
    throw new CodedError(
      "USAGE_INVALID",
      `give a job file, --dataset s3://bucket/prefix/${command === "submit" ? ", or --upload DIR" : ""}; ${programName} ${command} --help shows examples`,
    );
  const { dataset } = flags;
  if (typeof dataset === "string" && !dataset.includes("://") && !isAbsolute(dataset))
    throw new CodedError(
      "USAGE_INVALID",
      `--dataset ${dataset}: the workers cannot know where that is; put it into a bucket with --upload ${dataset}, or give s3://bucket/prefix/, or the absolute path of a folder that all workers see`,
    );
  const onKubernetes = usesKubernetes(flags, programName);
  // 1. The file first: what is wrong with it is said before anything is uploaded.
  const read = file === undefined ? undefined : await readJobFile(file, flags);
  const { namespace } = read?.metadata ?? {};
  if (onKubernetes && namespace !== undefined && flags.namespace !== undefined && namespace !== flags.namespace)
    throw new CodedError(
      "USAGE_INVALID",
      `${file ?? ""} is for namespace ${namespace}, -n says ${flags.namespace}; leave one of them out, or make them equal`,
    );
  // 2. Its pictures.
  const source = flags.upload === undefined ? undefined : await uploadFolder(flags.upload, flags, onKubernetes);
  const spec = applyOverrides(read?.spec ?? {}, { ...flags, ...(source !== undefined && { dataset: source }) });
  const name = flags.name ?? read?.metadata.name ?? nameFrom(read?.name ?? flags.upload ?? String(dataset));
  return {
    request: { metadata: { ...read?.metadata, name }, spec },
    serverFlags: onKubernetes && namespace !== undefined ? { ...flags, namespace } : flags,
  };
}

/** The same job in a namespace; outside Kubernetes there is none. */
export function inNamespace({ metadata, spec }: JobRequest, namespace: string | undefined): JobRequest {
  return { metadata: { ...metadata, ...(namespace !== undefined && { namespace }) }, spec };
}

/** A name that a server takes, from that of a file or folder. */
function nameFrom(path: string): string {
  const name = basename(path.replace(/\/+$/, ""), extname(path))
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40);
  return `${name === "" ? "job" : name}-${randomUUID().slice(0, 6)}`;
}
