import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import { generatedDataset } from "../../test/support/generated-dataset.js";
import { openLocal } from "./local.js";
import { planLocalJob } from "./plan-job.js";

test("a listing of a million names is planned in bounded memory", async () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-plan-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const local = await openLocal(folder);
  const job = resolveJob({ dataset: { source: "/generated" }, backbone: { name: "mobilenet_v2_0.35_224" } }, "test");
  const before = process.memoryUsage().rss;
  const { plan } = await planLocalJob(local, job, generatedDataset(1_000_000), { read: false, probe: false, progress: () => undefined });
  expect(plan.pictures).toBe(1_000_000);
  expect(plan.extraction.taskPictures).toBe(4_096);
  expect(plan.counts.train).toEqual(Array.from({ length: 10 }, () => 80_000));
  expect(process.memoryUsage().rss - before).toBeLessThan(600e6);
});
