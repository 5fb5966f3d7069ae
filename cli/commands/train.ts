import { access, constants, mkdir, rmdir, stat } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { systemError } from "../system-error.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import { printable } from "../../domain/job/figures.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { checkTrainable, trainingEngine } from "../../domain/training/trainable-layers.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { openLocal } from "../../services/local/local.js";
import { runLocalJob } from "../../services/local/run-job.js";
import { absoluteLocation, s3Access, storeLocation } from "../config.js";
import { openProgress } from "../progress.js";
import { interruptSignal } from "../interrupt.js";
import { copyResult } from "./copy-result.js";
import { datasetSpec } from "./dataset-spec.js";
import { readJobFile } from "./job-file.js";

export interface TrainFlags {
  readonly store?: string;
  readonly out?: string;
  readonly json?: boolean;
  readonly [jobFlag: string]: unknown;
}

/** `graft train DIR`: all defaults but what the flags say; with `--from` the network of that result. */
export async function train(source: string, flags: TrainFlags): Promise<void> {
  await runSpec(await datasetSpec(source, flags), nameOf(source), flags, `graft train ${source}`);
}

/** `graft run JOB.yaml`: a relative source is relative to the job file's folder, as the file's author meant it. */
export async function runJobFile(file: string, flags: TrainFlags): Promise<void> {
  const { spec, name } = await readJobFile(file, flags);
  await runSpec(spec, name, flags, file);
}

async function runSpec(spec: JobSpec, name: string, flags: TrainFlags, subject: string): Promise<void> {
  // 1. Whatever can be wrong with the request is found before anything is written.
  const resolved = resolveJob(spec, subject);
  const { dataset, initialWeights } = resolved;
  const job = {
    ...resolved,
    dataset: { ...dataset, source: absoluteLocation(dataset.source) },
    initialWeights: initialWeights.kind === "result" ? { ...initialWeights, from: resolve(initialWeights.from) } : initialWeights,
  };
  const out = flags.out ?? `${name}-model`;
  await checkOut(out);
  const local = await openLocal(storeLocation(flags), { store: s3Access() });
  await local.openDataset(job.dataset.source);
  const { backbone } = await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const network = cutBackbone(job, backbone);
  checkTrainable(trainingEngine(job.engines.training, network), network);
  const isNew = await makeOut(out);

  // 2. The job, and a copy of its result.
  const start = performance.now();
  const progress = openProgress(flags.json === true);
  const interrupt = interruptSignal(() => {
    progress.close();
    return new CodedError(
      "INTERRUPTED",
      `interrupted; what was finished is kept in ${local.store.location}. Run the same command again to go on`,
    );
  });
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
        `report: ${printable(join(out, "report.html"))}\nmodel:  ${printable(join(out, "model.onnx"))}\ntry it: graft predict ${printable(out)} IMAGE…\n`,
      );
  } catch (error) {
    // A job that was refused leaves no folder behind.
    if (isNew) await rmdir(out).catch(() => undefined);
    throw error;
  } finally {
    progress.close();
    interrupt.release();
  }
}

/** Found out before the work, not after it. */
async function checkOut(out: string): Promise<void> {
  const found = await stat(out).catch(() => undefined);
  if (found !== undefined && !found.isDirectory())
    throw new CodedError("USAGE_INVALID", `--out ${out}: a folder was expected, this is a file; give another name`);
}

/** Whether the folder was not there before. */
async function makeOut(out: string): Promise<boolean> {
  try {
    const made = await mkdir(out, { recursive: true });
    await access(out, constants.W_OK);
    return made !== undefined;
  } catch (error) {
    throw new CodedError(
      "USAGE_INVALID",
      `--out ${out}: the folder cannot be made or written to (${systemError(error)}); give one that you may write`,
      {},
      error,
    );
  }
}

function nameOf(source: string): string {
  const name = basename(resolve(source));
  return basename(name, extname(name)) || "graft";
}
