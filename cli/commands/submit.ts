import { randomUUID } from "node:crypto";
import { basename, extname, isAbsolute } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { uploadFolder } from "../upload.js";
import { applyOverrides } from "../../domain/job/override.js";
import { readJobFile } from "./job-file.js";
import { interruptSignal } from "../interrupt.js";
import { withServer } from "../server.js";
import type { ServerFlags } from "../server-flags.js";
import { watchToTheEnd } from "./watch.js";

export interface SubmitFlags extends ServerFlags {
  readonly upload?: string;
  readonly to?: string;
  readonly name?: string;
  readonly requestId?: string;
  readonly watch?: boolean;
  readonly [jobFlag: string]: unknown;
}

/** `graft submit [JOB.yaml]`: hands a job to the server; with `--upload DIR` the folder is put into a bucket first and is the job's dataset. */
export async function submit(file: string | undefined, flags: SubmitFlags): Promise<void> {
  if (file === undefined && flags.upload === undefined && flags["dataset"] === undefined)
    throw new CodedError(
      "USAGE_INVALID",
      "give a job file, --dataset s3://bucket/prefix/, or --upload DIR; graft submit --help shows examples",
    );
  const { dataset } = flags;
  if (typeof dataset === "string" && !dataset.includes("://") && !isAbsolute(dataset))
    throw new CodedError(
      "USAGE_INVALID",
      `--dataset ${dataset}: the workers cannot know where that is; put it into a bucket with --upload ${dataset}, or give s3://bucket/prefix/, or the absolute path of a folder that all workers see`,
    );
  const source = flags.upload === undefined ? undefined : await uploadFolder(flags.upload, flags);
  const overrides = { ...flags, ...(source !== undefined && { dataset: source }) };
  const request =
    file === undefined
      ? { spec: applyOverrides({}, overrides), metadata: {}, name: flags.upload ?? String(flags["dataset"]) }
      : await readJobFile(file, overrides);
  const { spec } = request;
  const metadata = { ...request.metadata, name: flags.name ?? request.metadata.name ?? nameFrom(request.name) };
  const requestId = flags.requestId ?? randomUUID();
  await withServer(flags, async (server) => {
    const job = await server.submitJob(requestId, { metadata, spec });
    const name = job.metadata.name ?? "";
    if (flags.json === true) process.stdout.write(`${JSON.stringify(job)}\n`);
    else
      process.stdout.write(
        `submitted ${name} (${job.metadata.uid ?? ""})${flags.watch === true ? "" : `; watch it with: graft watch ${name}`}\n`,
      );
    if (flags.watch !== true) return;
    const interrupt = interruptSignal(() => new CodedError("INTERRUPTED", `no longer watching; the job goes on: graft watch ${name}`));
    try {
      await watchToTheEnd(server, name, flags, interrupt.signal);
    } finally {
      interrupt.release();
    }
  });
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
