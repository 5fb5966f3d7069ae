import { mkdir, rename, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { count, duration, percentOf, printable } from "../../domain/job/figures.js";
import { hindranceOf, type JobResource } from "../../domain/job/resource.js";
import type { JobReference, JobService, ResultFile } from "../../platform/job-service/job-service.js";
import { nextCommand, programName } from "../program-name.js";
import { jobReference, withServer } from "../server.js";
import type { ServerFlags } from "../server-flags.js";
import { aligned } from "../table.js";

export interface GetFlags extends ServerFlags {
  readonly allNamespaces?: boolean;
}

/** `graft get [NAME]`: one job, or all of them as a table. */
export async function get(name: string | undefined, flags: GetFlags): Promise<void> {
  const everywhere = flags.allNamespaces === true;
  if (name !== undefined && everywhere)
    throw new CodedError(
      "USAGE_INVALID",
      "one job is in one namespace: give its name with -n NAMESPACE, or --all-namespaces without a name",
    );
  await withServer(flags, async (server, namespace) => {
    if (name !== undefined) {
      const job = await server.getJob(jobReference(name, namespace));
      process.stdout.write(flags.json === true ? `${JSON.stringify(job)}\n` : `${detailsOf(job)}\n`);
      return;
    }
    const jobs = await allJobs(server, everywhere ? undefined : namespace);
    if (flags.json === true) for (const job of jobs) process.stdout.write(`${JSON.stringify(job)}\n`);
    else if (jobs.length === 0)
      process.stdout.write(
        `no jobs${namespace === undefined || everywhere ? "" : ` in namespace ${namespace}`} yet; submit one with: ${programName} submit job.yaml\n`,
      );
    else {
      const rows = [columns, ...jobs.map(rowOf)];
      const namespaces = ["NAMESPACE", ...jobs.map(({ metadata }) => metadata.namespace ?? "")];
      process.stdout.write(`${aligned(everywhere ? rows.map((row, index) => [namespaces[index] ?? "", ...row]) : rows)}\n`);
    }
  });
}

/** `graft explain NAME`: the chain of reasons, each link further in. */
export async function explain(name: string, flags: ServerFlags): Promise<void> {
  await withServer(flags, async (server, namespace) => {
    const reasons = await server.explainJob(jobReference(name, namespace));
    if (flags.json === true) process.stdout.write(`${JSON.stringify(reasons)}\n`);
    else
      for (const { subject, message, depth } of reasons)
        process.stdout.write(`${"  ".repeat(depth)}${printable(subject)}: ${printable(message)}\n`);
  });
}

/** `graft logs NAME`: what happened to the job, oldest first. */
export async function events(name: string, flags: ServerFlags): Promise<void> {
  await withServer(flags, async (server, namespace) => {
    for (let pageToken = ""; ;) {
      const { events, nextPageToken } = await server.listJobEvents(jobReference(name, namespace), { pageSize: 1_000, pageToken });
      for (const { timeMs, kind, message } of events) {
        const time = new Date(timeMs).toISOString();
        process.stdout.write(
          flags.json === true ? `${JSON.stringify({ time, kind, message })}\n` : `${time} ${kind}: ${printable(message)}\n`,
        );
      }
      if (events.length === 0 || nextPageToken === pageToken) return;
      pageToken = nextPageToken;
    }
  });
}

/** `graft suspend|resume|cancel NAME`. */
export async function request(action: "suspend" | "resume" | "cancel", name: string, flags: ServerFlags): Promise<void> {
  await withServer(flags, async (server, namespace) => {
    const reference = jobReference(name, namespace);
    const job = await {
      suspend: () => server.suspendJob(reference),
      resume: () => server.resumeJob(reference),
      cancel: () => server.cancelJob(reference),
    }[action]();
    const shown = job.metadata.name ?? name;
    // A job that is resumed goes through all phases again; the one that it is in now says nothing.
    const text =
      action === "resume" ? `${shown} goes on; watch it with: ${nextCommand("watch", shown, flags)}` : `${shown} is ${stateOf(job)}`;
    process.stdout.write(flags.json === true ? `${JSON.stringify(job)}\n` : `${text}\n`);
  });
}

export interface FetchFlags extends ServerFlags {
  readonly out?: string;
}

/** `graft fetch NAME --out DIR`: every file of the result, each checked and whole or not at all. */
export async function fetchResult(name: string, flags: FetchFlags): Promise<void> {
  await withServer(flags, async (server, namespace) => {
    const job = jobReference(name, namespace);
    const { summary, files } = await server.getResult(job);
    const out = flags.out ?? `${name}-model`;
    const read = resultReader(server, job);
    for (const file of files) await fetchFile(read, file, out);
    if (flags.json === true) process.stdout.write(`${JSON.stringify({ ...summary, out, files: files.length })}\n`);
    else
      process.stdout.write(
        `${count(files.length)} files in ${printable(out)}, weights ${summary.weightsSha256.slice(0, 12)}\nreport: ${printable(join(out, "report.html"))}\ntry it: graft predict ${printable(out)} IMAGE…\n`,
      );
  });
}

async function fetchFile(read: (file: ResultFile) => Promise<Buffer>, file: ResultFile, out: string): Promise<void> {
  const { path, sha256, bytes } = file;
  if (path.split("/").some((part) => part === "" || part === "." || part === ".."))
    throw new CodedError("OBJECT_CORRUPT", `${JSON.stringify(path)} is no name of a result's file; is this a graft server?`);
  const body = await read(file);
  if (body.length !== bytes || createHash("sha256").update(body).digest("hex") !== sha256)
    throw new CodedError(
      "OBJECT_CORRUPT",
      `${path}: ${String(body.length)} bytes that are not those of the result (${String(bytes)} bytes, ${sha256.slice(0, 12)}…); fetch it again`,
    );
  const target = join(out, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(`${target}.part`, body);
  await rename(`${target}.part`, target);
}

/** Reads files from the store, by their addresses there, or through the server: where the store gives none (a folder), and where this machine does not reach it (one inside a cluster). */
function resultReader(server: JobService, job: JobReference): (file: ResultFile) => Promise<Buffer> {
  let isReached = true;
  return async ({ path, url }) => {
    if (url !== undefined && isReached) {
      const response = await fetch(url).catch(() => undefined);
      if (response?.ok === true) return Buffer.from(await response.arrayBuffer());
      if (response !== undefined)
        throw new CodedError("STORE_UNAVAILABLE", `${path}: the store answered ${String(response.status)}; try again`);
      isReached = false;
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of server.readResultFile(job, path, 0, new AbortController().signal)) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
}

async function allJobs(server: JobService, namespace: string | undefined): Promise<JobResource[]> {
  const all: JobResource[] = [];
  for (let pageToken = ""; ;) {
    const { jobs, nextPageToken } = await server.listJobs({ pageSize: 1_000, pageToken, ...(namespace !== undefined && { namespace }) });
    all.push(...jobs);
    if (nextPageToken === "") return all;
    pageToken = nextPageToken;
  }
}

const columns = ["NAME", "STATE", "PROGRESS", "ETA", "CACHED", "ACCURACY", "AGE"];

function rowOf(job: JobResource): string[] {
  const { progress = {}, evaluation, result } = job.status;
  const accuracy = result?.testAccuracy ?? evaluation?.validationAccuracy;
  const ageSeconds = (Date.now() - Date.parse(job.metadata.creationTimestamp ?? "")) / 1000;
  return [
    job.metadata.name ?? "",
    `${stateOf(job)}${hindranceOf(job) === undefined ? "" : ` (${hindranceOf(job)?.reason ?? ""})`}`,
    progressOf(job),
    progress.secondsLeft === undefined ? "" : duration(progress.secondsLeft),
    progress.cached === undefined || progress.pictures === undefined ? "" : percentOf(progress.cached, progress.pictures),
    accuracy === undefined ? "" : `${(100 * accuracy).toFixed(1)} %`,
    duration(Math.max(0, ageSeconds)),
  ];
}

export function stateOf({ status: { phase, suspended } }: JobResource): string {
  return suspended ? "Suspended" : phase.charAt(0) + phase.slice(1).toLowerCase();
}

function progressOf({ status: { phase, progress = {} } }: JobResource): string {
  const { extracted, pictures, step, steps } = progress;
  if (phase === "EXTRACTING" && pictures !== undefined) return percentOf(extracted ?? 0, pictures);
  if (steps !== undefined && ["TRAINING", "EVALUATING", "EXPORTING", "COMPLETE", "FAILED", "CANCELLED"].includes(phase))
    return `${count(step ?? 0)}/${count(steps)} steps`;
  return pictures === undefined ? "" : count(pictures, "picture");
}

function detailsOf(job: JobResource): string {
  const { metadata, status } = job;
  const hindrance = hindranceOf(job);
  const rows = [
    ["name", metadata.name ?? ""],
    ...(metadata.namespace === undefined || metadata.namespace === "" ? [] : [["namespace", metadata.namespace]]),
    ["id", metadata.uid ?? ""],
    ["state", stateOf(job)],
    ["progress", progressOf(job)],
    ...(hindrance === undefined || hindrance.message === status.failure?.message
      ? []
      : [["hindered", `${printable(hindrance.message)} [${hindrance.reason}]`]]),
    ...(status.progress?.trainersReason === undefined
      ? []
      : [["trainers", `${String(status.progress.trainers ?? "")}: ${status.progress.trainersReason}`]]),
    ...(status.failure === undefined ? [] : [["failure", `${printable(status.failure.message)} [${status.failure.code}]`]]),
    ...(status.result === undefined
      ? []
      : [
          ["weights", status.result.weightsSha256],
          ["result", printable(status.result.location)],
          ...(status.result.testAccuracy === undefined
            ? []
            : [
                ["accuracy", `${(100 * status.result.testAccuracy).toFixed(1)} % on ${String(status.result.testCount ?? 0)} test pictures`],
              ]),
        ]),
  ];
  return aligned(rows.map(([name = "", value = ""]) => [`${name}:`, value]));
}
