import { expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import type { ListingRecord } from "../../domain/job/records.js";
import { readBundledBackbone } from "../../platform/backbone-store/bundled.js";
import { checkFeasible, pinFeatures, pinPlan } from "./plan-job.js";

const profile = { engine: "onnx", engineVersion: "1", device: "cpu", instructionSet: "avx2", threads: 1, batch: 0, decoder: "sharp" };

async function check(training: JobSpec["training"], { memoryBytes = 2 ** 34, classes = ["a", "b", "c"] } = {}): Promise<void> {
  const job = resolveJob({ dataset: { source: "/pictures" }, ...(training && { training }) });
  const stored = await readBundledBackbone("mobilenet_v2_0.35_224");
  const counts = classes.map((label) => ({ label, pictures: 100, given: { train: 0, validation: 0, test: 0 } }));
  const listing: ListingRecord = {
    formatVersion: 1,
    source: "/pictures",
    pictures: 100 * classes.length,
    tasks: 5,
    taskPictures: 64,
    digest: "",
    classes,
    counts,
    givenSplits: [],
    ignoredCount: 0,
    ignored: [],
  };
  checkFeasible(job, stored, pinPlan(job, stored, { extraction: profile, training: profile }), listing, undefined, memoryBytes);
}

test("a job that can run is let through", async () => {
  await expect(check({})).resolves.toBeUndefined();
  await expect(check({ loss: "SIGMOID_CROSS_ENTROPY" }, { classes: ["a", "b"] })).resolves.toBeUndefined();
});

test("what could only fail after the extraction is refused before it", async () => {
  await expect(check({ loss: "SIGMOID_CROSS_ENTROPY" })).rejects.toMatchObject({ code: "SPEC_INVALID" });
  await expect(check({}, { memoryBytes: 2 ** 20 })).rejects.toMatchObject({ code: "JOB_TOO_LARGE" });
});

test("features of any profile have one folder for all machines with an engine, which no pinned job uses", async () => {
  const stored = await readBundledBackbone("mobilenet_v2_0.35_224");
  const dataset = { source: "/pictures" };
  const views = { count: 2, horizontalFlip: true };
  const pinned = resolveJob({ dataset, views });
  const any = resolveJob({ dataset, views, numericsProfile: "ANY" });
  const other = { ...profile, instructionSet: "avx512" };
  const digestOf = (job: typeof any, of: typeof profile): string => pinFeatures(job, stored, of).featureSpecDigest;
  expect(digestOf(any, profile)).toBe(digestOf(any, other));
  expect(new Set([digestOf(any, profile), digestOf(pinned, profile), digestOf(pinned, other)]).size).toBe(3);
  expect(digestOf(any, { ...profile, engine: "tensorflow" })).not.toBe(digestOf(any, profile));
  // So have their views.
  expect(pinFeatures(any, stored, profile).viewSpec).toEqual(pinFeatures(any, stored, other).viewSpec);
});
