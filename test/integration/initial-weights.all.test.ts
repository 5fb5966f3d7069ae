import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EvaluationEvent } from "../../domain/job/events.js";
import { listEngines } from "../../platform/engine/engines.js";
import { samplePictures, temporaryFolder } from "../support/local-jobs.js";
import { runGraft } from "../support/program.js";

const data = process.env["GRAFT_TEST_DATA"];
const hasTensorflow = (await listEngines()).some(({ name, available }) => name === "tensorflow" && available);

const folder = temporaryFolder();
const pictures = join(folder.path, "pictures");
const store = join(folder.path, "store");
const quick = ["--backbone", "mobilenet_v2_0.35_224", "--size", "96", "--batch", "16", "--steps", "30", "--evaluate-every-steps", "10"];

beforeAll(() => {
  samplePictures(pictures, 20);
});
afterAll(folder.remove);

/** Runs `graft train` and returns its evaluations and its last line. */
async function train(source: string, out: string, ...flags: string[]): Promise<{ evaluations: EvaluationEvent[]; weightsSha256: string }> {
  const { exitCode, stdout, stderr } = await runGraft([
    "train",
    source,
    "--store",
    store,
    "--out",
    join(folder.path, out),
    "--json",
    ...flags,
  ]);
  if (exitCode !== 0) throw new Error(stderr);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { readonly kind?: string; readonly weightsSha256?: string });
  return {
    evaluations: lines.filter((line): line is EvaluationEvent => line.kind === "evaluation"),
    weightsSha256: lines.at(-1)?.weightsSha256 ?? "",
  };
}

function validation({ validationLoss, validationAccuracy, validationCount }: EvaluationEvent) {
  return { validationLoss, validationAccuracy, validationCount };
}

describe("warm start: the first evaluation is the last one of the run that it continues", () => {
  let head: Awaited<ReturnType<typeof train>>;
  beforeAll(async () => {
    head = await train(pictures, "head", ...quick);
  });

  test("a head; the network is that of the result", async () => {
    const more = await train(pictures, "more", "--from", join(folder.path, "head"), "--steps", "20", "--learning-rate", "0.001");
    expect(more.evaluations[0]).toMatchObject({ step: 0, crossEntropy: null, trainAccuracy: null });
    expect(validation(more.evaluations[0]!)).toEqual(validation(head.evaluations.at(-1)!));
    expect(more.weightsSha256).not.toBe(head.weightsSha256);
    expect(more.evaluations.at(-1)!.validationLoss).not.toBe(head.evaluations.at(-1)!.validationLoss);
  });

  test.skipIf(!hasTensorflow)("a head goes on with the last block below it, which starts from the backbone", async () => {
    const flags = ["--from", join(folder.path, "head"), "--cut", "block_15_add", "--steps", "2", "--batch", "16"];
    const [first] = (await train(pictures, "deeper", ...flags)).evaluations;
    expect(first?.validationAccuracy).toBe(head.evaluations.at(-1)!.validationAccuracy);
    expect(first?.validationLoss).toBeCloseTo(head.evaluations.at(-1)!.validationLoss!, 3);
  });

  test.skipIf(!hasTensorflow)("a convolutional tail with its moving statistics", async () => {
    const cut = ["--cut", "block_15_add", "--batch-norm", "BATCH"];
    const block = await train(pictures, "block", ...quick, ...cut, "--steps", "6", "--evaluate-every-steps", "3");
    const more = await train(pictures, "block-more", "--from", join(folder.path, "block"), "--batch", "16", "--steps", "2");
    expect(validation(more.evaluations[0]!)).toEqual(validation(block.evaluations.at(-1)!));
  });
});

test.skipIf(data === undefined)("an output that starts from an old class is right before any step", async () => {
  const dataset = join(folder.path, "daisies");
  for (const [label, of, count] of [
    ["daisy", "flower_photos/daisy", 120],
    ["other", "flower_photos/dandelion", 30],
    ["other", "flower_photos/roses", 30],
    ["other", "flower_photos/sunflowers", 30],
    ["other", "flower_photos/tulips", 30],
  ] as const) {
    const source = join(data!, "images", of);
    // Half of the pictures for validation: many, for an accuracy that says something.
    for (const [index, name] of readdirSync(source).sort().slice(0, count).entries()) {
      const target = join(dataset, index % 2 === 0 ? "train" : "validation", label);
      mkdirSync(target, { recursive: true });
      cpSync(join(source, name), join(target, name));
    }
  }
  const weights = join(data!, "weights");
  const backbone = join(weights, "mobilenet_v2_1.0_224");
  const added = await runGraft([
    ...["backbone", "add", join(backbone, "backbone.safetensors"), join(backbone, "top_1001.safetensors")],
    ...["--labels", join(weights, "imagenet_labels_1001.txt"), "--name", "mobilenet_v2_top", "--store", store],
  ]);
  expect(added.stderr).toBe("");
  const flags = ["--backbone", "mobilenet_v2_top", "--from-class", "daisy", "--steps", "10"];
  const [first] = (await train(dataset, "daisy", ...flags)).evaluations;
  expect(first).toMatchObject({ step: 0 });
  console.warn(
    `from the old class: validation accuracy ${first!.validationAccuracy!.toFixed(3)} (N=${first!.validationCount}) before any step`,
  );
  expect(first!.validationCount).toBe(120);
  // By chance 0.5, with a standard deviation of 0.046.
  expect(first!.validationAccuracy).toBeGreaterThan(0.7);
});
