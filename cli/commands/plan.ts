import { statSync } from "node:fs";
import { extname } from "node:path";
import { errorCodes } from "../../domain/errors.js";
import { count, printable } from "../../domain/job/figures.js";
import { renderPlan } from "../../domain/job/render-plan.js";
import { resolveJob } from "../../domain/job/resolve.js";
import { manifestFormat } from "../../formats/manifest/manifest.js";
import { openLocal } from "../../services/local/local.js";
import { type LocalPlan, planLocalJob, type PlanProgress } from "../../services/local/plan-job.js";
import { s3Access, storeLocation } from "../config.js";
import { statusLine } from "../status-line.js";
import { datasetSpec } from "./dataset-spec.js";
import { readJobFile } from "./job-file.js";

export interface PlanFlags {
  readonly store?: string;
  readonly read?: boolean;
  /** False with `--no-probe`. */
  readonly probe?: boolean;
  readonly json?: boolean;
  readonly [jobFlag: string]: unknown;
}

/** Rejected pictures that the text names; --json names up to a hundred. */
const REJECTED_SHOWN = 10;

/** `graft plan`: says what a job would do; the exit code is that of the first thing that keeps it from running. */
export async function plan(source: string, flags: PlanFlags): Promise<void> {
  const spec = isJobFile(source) ? (await readJobFile(source, flags)).spec : await datasetSpec(source, flags);
  const job = resolveJob(spec, source);
  const local = await openLocal(storeLocation(flags), { store: s3Access() });
  const dataset = await local.openDataset(job.dataset.source);
  const status = statusLine();
  const planned = await planLocalJob(local, job, dataset, {
    read: flags.read === true,
    probe: flags.probe !== false,
    progress: (progress) => status.show(progressText(progress)),
  }).finally(status.clear);
  process.stdout.write(flags.json === true ? `${JSON.stringify(jsonOf(planned))}\n` : `${render(planned)}\n`);
  const [obstacle] = planned.plan.obstacles;
  if (obstacle !== undefined) process.exitCode = errorCodes[obstacle.code].exitCode;
}

function progressText(progress: PlanProgress): string {
  if ("probing" in progress) return `trying ${progress.probing}`;
  return "read" in progress ? `read ${count(progress.read, "picture")}` : `listed ${count(progress.listed, "picture")}`;
}

/** The plan's fields, and beside them what was left out. */
function jsonOf({ plan: fields, ...leftOut }: LocalPlan): unknown {
  return { ...fields, ...leftOut };
}

function render({ plan: planned, rejectedCount, rejected, ignoredCount, ignored }: LocalPlan): string {
  const lines = [renderPlan(planned)];
  const [first] = ignored;
  if (first !== undefined)
    lines.push(`ignored: ${count(ignoredCount, "file")}, the first: ${printable(first.path)}: ${printable(first.reason)}`);
  if (rejectedCount > 0) {
    lines.push(`rejected: ${count(rejectedCount, "picture")}`);
    lines.push(...rejected.slice(0, REJECTED_SHOWN).map(({ uri, reason }) => `  ${printable(uri)}: ${printable(reason)}`));
    if (rejectedCount > REJECTED_SHOWN)
      lines.push(`  and ${count(rejectedCount - REJECTED_SHOWN)} more${rejected.length > REJECTED_SHOWN ? "; --json names them" : ""}`);
  }
  return lines.join("\n");
}

/** A manifest and a folder are datasets, every other file should be a job file. */
function isJobFile(source: string): boolean {
  const found = statSync(source, { throwIfNoEntry: false });
  if (found?.isDirectory() === true) return false;
  return found === undefined ? /^\.(ya?ml|json)$/.test(extname(source)) : manifestFormat(source) === undefined;
}
