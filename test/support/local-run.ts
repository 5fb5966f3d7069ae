import { resolveJob } from "../../domain/job/resolve.js";
import { milestones, type Milestone } from "../../domain/job/records.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { samplesRecord } from "../../formats/job-records/job-records.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { CodedError, errorCodes } from "../../domain/errors.js";
import { openLocal } from "../../services/local/local.js";
import { runLocalJob } from "../../services/local/run-job.js";
import { countingDecodes } from "./counting.js";
import { resultOf, type JobResult } from "./job-result.js";

/**
 * A program that runs one job in its process, for tests that kill it: `node local-run.js REQUEST`, with the request as JSON. Prints what the job announces, each picture that it decodes, and at the end
 * its result, one JSON object a line. SIGINT interrupts the job; a failure of a known kind ends it with that failure's exit code.
 */
export interface LocalRunRequest {
  readonly store: string;
  readonly spec: JobSpec;
  /** Of an engine call; default: one for each processor. */
  readonly threads?: number;
  /** Ends this process by SIGKILL when the milestone is reached for the `occurrence`-th time, counted over all workers. */
  readonly kill?: { readonly milestone: Milestone; readonly occurrence: number };
}

export type LocalRunLine =
  | { readonly event: "result"; readonly result: JobResult }
  | { readonly event: "failed"; readonly code: string; readonly message: string }
  | { readonly event: "decoded" }
  | { readonly event: "job"; readonly kind: string; readonly [field: string]: unknown };

const { store, spec, threads, kill } = JSON.parse(process.argv[2] ?? "") as LocalRunRequest;
if (kill !== undefined && !milestones.includes(kill.milestone)) throw new Error(`there is no milestone ${kill.milestone}`);

function print(line: LocalRunLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

let reached = 0;
function milestone(name: Milestone): void {
  if (name === kill?.milestone && ++reached === kill.occurrence) process.kill(process.pid, "SIGKILL");
}

const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());

try {
  const local = countingDecodes(await openLocal(store, { threads }), () => print({ event: "decoded" }));
  const job = resolveJob(spec, "test");
  await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const outcome = await runLocalJob(local, {
    job,
    name: "test",
    out: "out",
    announce: ({ kind, ...event }) => print({ event: "job", kind, ...event }),
    signal: interrupt.signal,
    milestone,
  });
  const samples = await outcome.job.readJson("samples/summary.json", samplesRecord);
  print({ event: "result", result: await resultOf(outcome, samples?.extraction.workers ?? {}) });
} catch (error) {
  if (!(error instanceof CodedError)) throw error;
  print({ event: "failed", code: error.code, message: error.message });
  process.exitCode = errorCodes[error.code].exitCode;
}
