import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import { samplesRecord, planRecord } from "../../formats/job-records/job-records.js";
import type { Metrics } from "../../formats/metrics/metrics.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { openLocal, type Local } from "../../services/local/local.js";
import { runLocalJob } from "../../services/local/run-job.js";
import { loadTrainingSet } from "../../services/trainer/training-set.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import { pythonWith } from "../support/python.js";

const data = process.env["GRAFT_TEST_DATA"];
const peer = data === undefined ? { missing: "GRAFT_TEST_DATA is not set" } : pythonWith(["numpy==2.2.6", "scikit-learn==1.7.2"]);
const folder = mkdtempSync(join(tmpdir(), "graft-accuracy-"));
let local: Local;

beforeAll(async () => {
  local = await openLocal(join(folder, "store"));
  await findOrAddBackbone(local.backbones, "mobilenet_v2_1.0_224", undefined);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function trainDefault(source: string, splitSeed: number): Promise<{ job: JobObjects; metrics: Metrics }> {
  const job = resolveJob({ dataset: { source: join(data!, "images", source), split: { seed: splitSeed } } });
  const outcome = await runLocalJob(local, {
    job,
    name: source,
    out: "unused",
    announce: () => undefined,
    signal: new AbortController().signal,
  });
  const bytes = await outcome.job.readResult("metrics.json");
  return { job: outcome.job, metrics: JSON.parse(Buffer.from(bytes!).toString("utf8")) as Metrics };
}

/** Features, labels and splits of a job as the peer script reads them. */
async function forPeer(job: JobObjects, seed: number): Promise<string> {
  const plan = await job.readJson("plan.json", planRecord);
  const samples = await job.readJson("samples/summary.json", samplesRecord);
  const { train, validation, test, resident } = await loadTrainingSet(
    job,
    samples!,
    await local.openFeatures(plan!),
    { views: 1, streaming: undefined },
    new AbortController().signal,
  );
  const splits = [train, validation, test];
  const features = join(folder, `features-${String(seed)}.bin`);
  writeFileSync(
    features,
    Buffer.concat(
      [resident!.train, resident!.validation, resident!.test].map(
        ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
      ),
    ),
  );
  return JSON.stringify({
    seed,
    features,
    rows: samples!.rows,
    columns: plan!.featureShape[0],
    labels: splits.flatMap(({ labels }) => [...labels]),
    split: splits.flatMap(({ rows }, split) => new Array<number>(rows).fill(split)),
  });
}

test.skipIf("missing" in peer)(
  `flower_photos, default recipe, split seeds 1 to 10, beside LogisticRegression ${"missing" in peer ? `(skipped: ${peer.missing})` : ""}`,
  async () => {
    const jobs: string[] = [];
    const graft: number[] = [];
    for (let seed = 1; seed <= 10; seed++) {
      const { job, metrics } = await trainDefault("flower_photos", seed);
      graft.push(metrics.test.accuracy!);
      jobs.push(await forPeer(job, seed));
    }
    const output = execFileSync((peer as { python: string }).python, ["bench/peers/logistic_regression.py"], {
      input: jobs.join("\n"),
      encoding: "utf8",
    });
    const logistic = output
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { accuracy: number }).accuracy);
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    console.log(
      `seed      graft  LogisticRegression\n${graft.map((value, index) => `${String(index + 1).padStart(4)}     ${value.toFixed(4)}  ${logistic[index]!.toFixed(4)}`).join("\n")}\nmean     ${mean(graft).toFixed(4)}  ${mean(logistic).toFixed(4)}`,
    );
    // Better is no failure.
    expect(mean(graft)).toBeGreaterThanOrEqual(mean(logistic) - 0.01);
    for (const [index, value] of graft.entries())
      expect(value, `split seed ${String(index + 1)}`).toBeGreaterThanOrEqual(logistic[index]! - 0.03);
  },
);

test.skipIf(data === undefined)("horses_or_humans with its given validation split reaches 0.98", async () => {
  const { metrics } = await trainDefault("horses_or_humans", 1);
  console.log(`horses_or_humans: validation accuracy ${String(metrics.validation.accuracy)} (N=${String(metrics.validation.count)})`);
  expect(metrics.validation.count).toBe(256);
  expect(metrics.validation.accuracy).toBeGreaterThanOrEqual(0.98);
  expect(metrics.test).toEqual({ accuracy: null, loss: null, count: null });
});
