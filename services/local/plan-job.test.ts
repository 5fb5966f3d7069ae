import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { openFilesystemDataset } from "../../platform/dataset-source/filesystem.js";
import { generatedDataset } from "../../test/support/generated-dataset.js";
import { openLocal, type Local } from "./local.js";
import { type LocalPlan, planLocalJob } from "./plan-job.js";

const spec: JobSpec = { dataset: { source: "samples/flowers" }, backbone: { name: "mobilenet_v2_0.35_224" } };
const job = resolveJob(spec, "test");

async function emptyStore(): Promise<{ readonly folder: string; readonly local: Local }> {
  const folder = mkdtempSync(join(tmpdir(), "graft-plan-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return { folder, local: await openLocal(folder) };
}

async function planned(local: Local, dataset: OpenedDataset, read: boolean, of = job): Promise<LocalPlan> {
  return planLocalJob(local, of, dataset, { read, probe: false, progress: () => undefined });
}

/** The same without one engine. */
function without(local: Local, missing: string): Local {
  const unavailable = new CodedError("ENGINE_UNAVAILABLE", `engine ${missing}: not installed; put it together`);
  return { ...local, engine: (name) => (name === missing ? Promise.reject(unavailable) : local.engine(name)) };
}

test("without --read nothing is read, counts are estimates, and nothing is written", async () => {
  const { folder, local } = await emptyStore();
  const { plan } = await planned(local, generatedDataset(1_000), false);
  expect(plan.countsExact).toBe(false);
  expect(plan.counts.train).toEqual(Array.from({ length: 10 }, () => 80));
  expect(plan.extraction.toExtract).toEqual({ value: 1_000, exact: false });
  expect(plan.extraction.imagesPerSecond.origin).toBe("assumed");
  expect(readdirSync(folder)).toEqual([]);
});

test("with --read counts are exact, and nothing is written", async () => {
  const { folder, local } = await emptyStore();
  const { plan, rejectedCount } = await planned(local, await openFilesystemDataset("samples/flowers"), true);
  expect(plan.countsExact).toBe(true);
  const sum = Object.values(plan.counts)
    .flat()
    .reduce((total, value) => total + value, 0);
  expect([sum, rejectedCount, plan.extraction.toExtract.value]).toEqual([200, 0, 200]);
  expect(readdirSync(folder)).toEqual([]);
});

test("an engine that is missing keeps the job from running, and the plan is made all the same", async () => {
  const { folder, local } = await emptyStore();
  const lastBlock = resolveJob({ ...spec, cut: "block_15_add", trainers: { engine: "tensorflow" } }, "test");
  const expected = { code: "ENGINE_UNAVAILABLE", message: "engine tensorflow: not installed; put it together" };
  for (const probe of [false, true]) {
    const options = { read: false, probe, progress: () => undefined };
    const { plan } = await planLocalJob(without(local, "tensorflow"), lastBlock, generatedDataset(1_000), options);
    expect(plan.obstacles).toEqual([expected]);
    expect([plan.training.engine, plan.training.millisecondsPerStep.origin]).toEqual(["tensorflow", "assumed"]);
    expect(plan.training.tail.layers).toBe(12);
  }
  const { plan } = await planned(without(local, "onnx"), await openFilesystemDataset("samples/flowers"), true);
  expect(plan.obstacles.map(({ code }) => code)).toEqual(["ENGINE_UNAVAILABLE"]);
  expect([plan.extraction.toExtract.value, plan.extraction.cached.value]).toEqual([200, 0]);
  expect(readdirSync(folder)).toEqual([]);
});

test("what training cannot start from is an obstacle", async () => {
  const { local } = await emptyStore();
  const elsewhere = resolveJob({ ...spec, initialWeights: { fromResult: "nowhere" } }, "test");
  expect((await planned(local, generatedDataset(1_000), false, elsewhere)).plan.obstacles).toMatchObject([{ code: "WEIGHTS_INVALID" }]);
});

test("speeds of this machine are tried on the job's own pictures and network", async () => {
  const { folder, local } = await emptyStore();
  const tried: string[] = [];
  const { plan } = await planLocalJob(local, job, await openFilesystemDataset("samples/flowers"), {
    read: false,
    probe: true,
    progress: (progress) => {
      if ("probing" in progress) tried.push(progress.probing);
    },
  });
  expect([plan.extraction.imagesPerSecond.origin, plan.training.millisecondsPerStep.origin]).toEqual(["probed", "probed"]);
  expect(tried).toEqual(["extraction", "training"]);
  expect(plan.extraction.imagesPerSecond.value).toBeGreaterThan(1);
  expect(plan.training.millisecondsPerStep.value).toBeGreaterThan(0.01);
  expect(readdirSync(folder)).toEqual([]);
}, 30_000);
