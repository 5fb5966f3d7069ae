import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { openFilesystemDataset } from "../../platform/dataset-source/filesystem.js";
import { generatedDataset } from "../../test/support/generated-dataset.js";
import { openLocal, type Local } from "./local.js";
import { type LocalPlan, planLocalJob } from "./plan-job.js";

const job = resolveJob({ dataset: { source: "samples/flowers" }, backbone: { name: "mobilenet_v2_0.35_224" } }, "test");

async function emptyStore(): Promise<{ readonly folder: string; readonly local: Local }> {
  const folder = mkdtempSync(join(tmpdir(), "graft-plan-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return { folder, local: await openLocal(folder) };
}

async function planned(local: Local, dataset: OpenedDataset, read: boolean): Promise<LocalPlan> {
  return planLocalJob(local, job, dataset, { read, probe: false, progress: () => undefined });
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
