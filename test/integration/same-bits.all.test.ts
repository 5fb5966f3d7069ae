import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JobSpec } from "../../domain/job/spec.js";
import type { JobResult } from "../support/job-result.js";
import { finished, JobProcess, jobOn, richJob, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";
import { node24 } from "../support/node24.js";

/** Files that tell when and how fast a job ran; all others are equal for any number of workers. */
const timed = (file: string): boolean => file === "metrics.json" || file === "report.html" || file.startsWith("events/");

function untimed(files: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).filter(([file]) => !timed(file)));
}

const GRAINS = 8;
const STEPS = 120;

describe.each<[string, JobSpec]>([
  ["a linear head", smallJob],
  ["dropout, a hidden layer, Adam, class-balanced sampling", richJob],
])("%s", (_name, job) => {
  const folder = temporaryFolder();
  afterAll(folder.remove);
  const pictures = join(folder.path, "pictures");
  let stores = 0;
  let first: JobResult;

  /** On a store of its own, so that nothing is left to do from another run. */
  async function run(workers: { trainers?: number; extractors?: number }, node?: string): Promise<JobResult> {
    const store = join(folder.path, `store-${String(stores++)}`);
    return (await finished({ store, spec: jobOn(pictures, job, workers) }, node)).result;
  }

  beforeAll(async () => {
    mkdirSync(pictures);
    samplePictures(pictures);
    first = await run({});
  });

  test("one trainer and one extractor do all the work", () => {
    expect(first.grainsComputed).toEqual({ "trainer-0": STEPS * GRAINS });
    expect(first.metrics.extraction.extracted).toBe(200);
    expect(first.tasksCommitted).toEqual({ "extractor-0": 4 });
    expect(Object.keys(untimed(first.files))).toEqual(
      expect.arrayContaining(["labels.txt", "model.onnx", "passport.json", "tfjs/model.json", "weights.safetensors"]),
    );
  });

  test.each([2, 3, 4, 8])("%i trainers: the same files, each computes its share", async (trainers) => {
    const result = await run({ trainers });
    expect(result.metrics.weightsSha256).toBe(first.metrics.weightsSha256);
    expect(untimed(result.files)).toEqual(untimed(first.files));
    const shares = Array.from(
      { length: trainers },
      (_, index) => Math.floor(((index + 1) * GRAINS) / trainers) - Math.floor((index * GRAINS) / trainers),
    );
    expect(result.grainsComputed).toEqual(Object.fromEntries(shares.map((grains, index) => [`trainer-${String(index)}`, STEPS * grains])));
    expect(Object.values(result.grainsComputed).reduce((sum, grains) => sum + grains)).toBe(STEPS * GRAINS);
  });

  test("3 extractors: the same files, each commits a task", async () => {
    const result = await run({ extractors: 3 });
    expect(untimed(result.files)).toEqual(untimed(first.files));
    expect(Object.keys(result.tasksCommitted).sort()).toEqual(["extractor-0", "extractor-1", "extractor-2"]);
    expect(Object.values(result.tasksCommitted).reduce((sum, tasks) => sum + tasks)).toBe(4);
  });

  const other = node24();
  if ("missing" in other) console.warn(`skipped: ${other.missing}`);
  test.skipIf("missing" in other)("Node 24: the same files", async () => {
    if ("missing" in other) return;
    expect(execFileSync(other.node, ["--version"], { encoding: "utf8" })).toMatch(/^v24\./);
    expect(untimed((await run({ trainers: 2 }, other.node)).files)).toEqual(untimed(first.files));
  });
});

test("more trainers than grains are refused; where they are only allowed, one process has as few as it may", async () => {
  const folder = temporaryFolder();
  try {
    const small = { ...smallJob, training: { steps: 10, batchSize: 4, evaluateEverySteps: 5 } };
    const spec = jobOn(samplePictures(join(folder.path, "pictures"), 13), small);
    const { failure } = await new JobProcess({ store: join(folder.path, "store"), spec: { ...spec, trainers: { min: 4, max: 4 } } }).end;
    expect(failure?.message).toMatch(/trainers\.min: must be at most the number of grains \(2\), found 4/);
    const { result } = await finished({ store: join(folder.path, "store"), spec: { ...spec, trainers: { min: 1, max: 4 } } });
    expect(result.grainsComputed).toEqual({ "trainer-0": 20 });
  } finally {
    folder.remove();
  }
});
