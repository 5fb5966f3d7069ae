import { mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { applyOverrides } from "../../domain/job/override.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import { openLocal } from "../../services/local/local.js";
import { runLocalJob } from "../../services/local/run-job.js";
import { storeFolder } from "../config.js";
import { openProgress } from "../progress.js";
import { interruptSignal } from "../interrupt.js";
import { readJobFile } from "./job-file.js";

export interface TrainFlags {
  readonly store?: string;
  readonly out?: string;
  readonly json?: boolean;
  readonly [jobFlag: string]: unknown;
}

/** `graft train DIR`: all defaults but what the flags say. */
export async function train(source: string, flags: TrainFlags): Promise<void> {
  await runSpec(applyOverrides({ dataset: { source } }, flags), nameOf(source), flags, `graft train ${source}`);
}

/** `graft run JOB.yaml`: a relative source is relative to the job file's folder, as the file's author meant it. */
export async function runJobFile(file: string, flags: TrainFlags): Promise<void> {
  const { spec, name } = await readJobFile(file, flags);
  await runSpec(spec, name, flags, file);
}

async function runSpec(spec: JobSpec, name: string, flags: TrainFlags, subject: string): Promise<void> {
  const resolved = resolveJob(spec, subject);
  const job = { ...resolved, dataset: { ...resolved.dataset, source: resolve(resolved.dataset.source) } };
  const out = flags.out ?? `${name}-model`;
  await checkOut(out);
  const local = await openLocal(storeFolder(flags));
  await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);

  const start = performance.now();
  const progress = openProgress(flags.json === true);
  const interrupt = interruptSignal();
  try {
    const outcome = await runLocalJob(local, { job, name, out, announce: progress.announce, signal: interrupt.signal });
    const metrics = await copyResult(outcome.job, out);
    progress.announce({
      kind: "complete",
      testAccuracy: metrics.test.accuracy,
      testCount: metrics.test.count ?? 0,
      weightsSha256: metrics.weightsSha256,
      location: out,
      seconds: (performance.now() - start) / 1000,
    });
    progress.close();
    if (flags.json === true) process.stdout.write(`${JSON.stringify(metrics)}\n`);
    else
      process.stdout.write(
        `report: ${join(out, "report.html")}\nmodel:  ${join(out, "model.onnx")}\ntry it: graft predict ${out} IMAGE…\n`,
      );
  } finally {
    progress.close();
    interrupt.release();
  }
}

/** Copies every file of the result; each appears whole or not at all. */
async function copyResult(
  job: JobObjects,
  out: string,
): Promise<{ test: { accuracy: number | null; count: number | null }; weightsSha256: string }> {
  let metrics: unknown;
  const copied = new Set<string>();
  for await (const file of job.resultFiles()) {
    const body = await job.readResult(file);
    if (body === undefined) continue;
    const path = join(out, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.part`, body);
    await rename(`${path}.part`, path);
    copied.add(file);
    if (file === "metrics.json") metrics = JSON.parse(Buffer.from(body).toString("utf8"));
  }
  await removeEarlier(out, copied);
  return metrics as { test: { accuracy: number | null; count: number | null }; weightsSha256: string };
}

/** Event files and weight shards of an earlier result in the same folder: TensorBoard would show two runs as one. Everything else has the same name in every result. */
async function removeEarlier(out: string, copied: ReadonlySet<string>): Promise<void> {
  for (const file of [...(await filesOf(out, "events")), ...(await filesOf(out, "tfjs"))]) {
    if (/^events\/events\.out\.tfevents\.\d+\.graft$|^tfjs\/group1-shard\d+of\d+\.bin$/.test(file) && !copied.has(file))
      await rm(join(out, file));
  }
}

async function filesOf(out: string, folder: string): Promise<string[]> {
  return (await readdir(join(out, folder)).catch(() => [])).map((name) => `${folder}/${name}`);
}

/** Found out before the work, not after it. */
async function checkOut(out: string): Promise<void> {
  const found = await stat(out).catch(() => undefined);
  if (found !== undefined && !found.isDirectory())
    throw new CodedError("USAGE_INVALID", `--out ${out}: a folder was expected, this is a file; give another name`);
  await mkdir(out, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new CodedError(
      "USAGE_INVALID",
      `--out ${out}: the folder cannot be made (${cause.code ?? cause.message}); give one that you may write`,
      {},
      cause,
    );
  });
}

function nameOf(source: string): string {
  const name = basename(resolve(source));
  return basename(name, extname(name)) || "graft";
}
