import { createHash } from "node:crypto";
import type { Metrics } from "../../formats/metrics/metrics.js";
import type { LocalOutcome } from "../../services/local/run-job.js";

/** What a finished job left, for tests to compare. */
export interface JobResult {
  readonly jobId: string;
  readonly metrics: Metrics;
  /** SHA-256 of every file of the result, by name. */
  readonly files: Readonly<Record<string, string>>;
  /** Grains that each trainer computed in this run. */
  readonly grainsComputed: Readonly<Record<string, number>>;
  /** Tasks that each extractor committed. */
  readonly tasksCommitted: Readonly<Record<string, number>>;
}

export async function resultOf({ job, trainers }: LocalOutcome, tasksCommitted: Readonly<Record<string, number>>): Promise<JobResult> {
  const files: Record<string, string> = {};
  let metrics: Metrics | undefined;
  for await (const file of job.resultFiles()) {
    const body = await job.readResult(file);
    if (body === undefined) throw new Error(`${file} vanished`);
    files[file] = createHash("sha256").update(body).digest("hex");
    if (file === "metrics.json") metrics = JSON.parse(Buffer.from(body).toString("utf8")) as Metrics;
  }
  if (metrics === undefined) throw new Error(`job ${job.jobId} left no metrics.json`);
  const grainsComputed = Object.fromEntries([...trainers].map(([trainer, { grainsComputed: computed }]) => [trainer, computed]));
  return { jobId: job.jobId, metrics, files, grainsComputed, tasksCommitted };
}
