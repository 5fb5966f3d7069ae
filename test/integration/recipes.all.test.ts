import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EvaluationEvent } from "../../domain/job/events.js";
import type { Metrics } from "../../formats/metrics/metrics.js";
import { listEngines } from "../../platform/engine/engines.js";
import { samplePictures, temporaryFolder } from "../support/local-jobs.js";
import { graft, runGraft } from "../support/program.js";

const data = process.env["GRAFT_TEST_DATA"];
const hasTensorflow = (await listEngines()).some(({ name, available }) => name === "tensorflow" && available);
/** Why a test is skipped, at the end of its name. */
const without = (...needed: readonly ("data" | "tensorflow")[]): string => {
  const missing = needed.filter((each) => (each === "data" ? data === undefined : !hasTensorflow));
  const why = { data: "GRAFT_TEST_DATA is not set", tensorflow: "no engine tensorflow" };
  return missing.length === 0 ? "" : ` (skipped: ${missing.map((each) => why[each]).join(", ")})`;
};
const skippedWithout = (...needed: readonly ("data" | "tensorflow")[]): boolean => without(...needed) !== "";

const folder = temporaryFolder();
const store = ["--store", join(folder.path, "store")];
const fiveClasses = join(folder.path, "five");
const twoClasses = join(folder.path, "two");
afterAll(folder.remove);

beforeAll(async () => {
  samplePictures(fiveClasses, 8);
  samplePictures(twoClasses, 8, 2);
  for (const topology of ["resnet18_v2_224", "inception_v3_299"])
    await graft(["backbone", "add", "--untrained", "--topology", topology, ...store]);
  if (data === undefined) return;
  const weights = join(data, "weights");
  const scaled = '{"mean":[0,0,0],"deviation":[255,255,255]}';
  await graft([
    "backbone",
    "add",
    join(weights, "inception_v3_299_finetuned"),
    "--name",
    "inception_v3",
    "--preprocessing",
    scaled,
    ...store,
  ]);
  const files = ["backbone", "top_1001"].map((name) => join(weights, "mobilenet_v2_1.0_224", `${name}.safetensors`));
  await graft(["backbone", "add", ...files, "--labels", join(weights, "imagenet_labels_1001.txt"), "--name", "mobilenet_v2_top", ...store]);
});

interface PlannedRecipe {
  readonly file: string;
  readonly args: readonly string[];
  readonly needs?: readonly ("data" | "tensorflow")[];
  /** What `graft plan` says: of one feature its shape, the engine that trains, trained parameters, grains. */
  readonly planned: readonly [shape: readonly number[], engine: string, parameters: number, grains: number];
  /** What keeps it from running. */
  readonly obstacles?: readonly unknown[];
}

const resnet = ["--dataset", twoClasses, "--backbone", "resnet18_v2_224_untrained"];
const inception = ["--backbone", "inception_v3_299_untrained"];
const recipes: readonly PlannedRecipe[] = [
  { file: "retrain-inception-v3", args: ["--dataset", fiveClasses, ...inception], planned: [[2048], "onnx", 2048 * 5 + 5, 8] },
  {
    file: "inception-v3-mixed7",
    args: ["--dataset", twoClasses, ...inception],
    planned: [[7, 7, 768], "onnx", 7 * 7 * 768 * 1024 + 1024 + 1024 + 1, 1],
  },
  { file: "mobilenet-v2-frozen", args: ["--dataset", fiveClasses], planned: [[1280], "onnx", 1280 * 5 + 5, 8] },
  {
    file: "mobilenet-v2-last-block",
    args: ["--dataset", fiveClasses],
    planned: [[7, 7, 160], "onnx", 892_485, 4],
  },
  {
    file: "mobilenet-v2-full",
    args: ["--dataset", fiveClasses],
    planned: [[224, 224, 3], "onnx", 2_230_277, 4],
  },
  {
    file: "mobilenet-v2-scratch",
    args: ["--dataset", fiveClasses],
    planned: [[96, 96, 3], "onnx", 402_533, 1],
  },
  { file: "resnet18-hotdog-fine-tune", args: resnet, planned: [[224, 224, 3], "onnx", 11_175_874, 1] },
  { file: "resnet18-hotdog-scratch", args: resnet, planned: [[224, 224, 3], "onnx", 11_175_874, 1] },
  {
    file: "resnet18-hotdog-continued",
    args: resnet,
    planned: [[224, 224, 3], "onnx", 11_175_874, 1],
    obstacles: [
      expect.objectContaining({ code: "WEIGHTS_INVALID", message: expect.stringContaining("resnet18-hotdog-fine-tune-model") as string }),
    ],
  },
  { file: "resnet18-hotdog-frozen", args: resnet, planned: [[512], "onnx", 512 * 2 + 2, 8] },
  {
    // No ResNet with its classifier is at hand; "daisy" is a class of ImageNet.
    file: "resnet18-hotdog-from-class",
    args: ["--dataset", twoClasses, "--backbone", "mobilenet_v2_top", "--from-class", "daisy"],
    needs: ["data"],
    planned: [[224, 224, 3], "onnx", 2_226_434, 1],
  },
];

describe("every recipe is read and planned", () => {
  test("and none is left out here", () => {
    const files = readdirSync("examples").filter((name) => name.endsWith(".yaml") && !name.startsWith("flowers"));
    expect(files).toEqual(recipes.map(({ file }) => `${file}.yaml`).sort());
  });

  test("retrain-inception-v3 with its distortions", async () => {
    const text = readFileSync("examples/retrain-inception-v3.yaml", "utf8");
    const file = join(folder.path, "distorted.yaml");
    writeFileSync(file, text.replace("  # views:", "  views:"));
    const plan = JSON.parse(await graft(["plan", file, "--dataset", fiveClasses, ...inception, "--no-probe", "--json", ...store])) as {
      readonly features: { readonly views: number };
    };
    expect(plan.features.views).toBe(10);
  });

  for (const { file, args, needs = [], planned, obstacles = [] } of recipes) {
    test.skipIf(skippedWithout(...needs))(`${file}${without(...needs)}`, async () => {
      const { stdout, stderr } = await runGraft(["plan", `examples/${file}.yaml`, ...args, "--no-probe", "--json", ...store]);
      expect(stdout, stderr).not.toBe("");
      const plan = JSON.parse(stdout) as {
        readonly features: { readonly shape: readonly number[] };
        readonly training: { readonly engine: string; readonly parameters: number; readonly grains: number };
        readonly obstacles: readonly unknown[];
      };
      const { engine, parameters, grains } = plan.training;
      expect([plan.features.shape, engine, parameters, grains]).toEqual(planned);
      expect(plan.obstacles).toEqual(obstacles);
    });
  }
});

/** Runs a recipe, shortened by `args`; prints and returns what came out. */
async function run(
  file: string,
  ...args: readonly string[]
): Promise<{ readonly metrics: Metrics; readonly evaluations: readonly EvaluationEvent[] }> {
  const started = performance.now();
  const printed = await graft(["run", `examples/${file}.yaml`, ...args, "--json", "--out", join(folder.path, `${file}-model`), ...store]);
  const lines = printed
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { readonly kind?: string });
  const metrics = lines.at(-1) as Metrics;
  const shown = (["train", "validation", "test"] as const).map(
    (split) => `${split} ${metrics[split].accuracy?.toFixed(4) ?? "none"} (N=${metrics[split].count ?? 0})`,
  );
  console.log(`${file}: ${shown.join(", ")}, ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return { metrics, evaluations: lines.filter((line): line is EvaluationEvent => line.kind === "evaluation") };
}

describe("what the recipes reach", () => {
  const flowers = ["--dataset", join(data ?? "", "images/flower_photos")];
  const horses = ["--dataset", join(data ?? "", "images/horses_or_humans"), "--backbone", "inception_v3"];
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  /** The samples in two halves, 100 pictures for training and 100 for test, so that the test says something. */
  const halves = join(folder.path, "halves");

  beforeAll(() => {
    const all = samplePictures(join(folder.path, "all"));
    for (const label of readdirSync(all)) {
      for (const split of ["train", "test"]) mkdirSync(join(halves, split, label), { recursive: true });
      for (const [index, name] of readdirSync(join(all, label)).sort().entries())
        renameSync(join(all, label, name), join(halves, index % 2 === 0 ? "train" : "test", label, name));
    }
  });

  test.skipIf(skippedWithout("data"))(`inception-v3-mixed7, 5 epochs of 40: 0.99 and 0.95${without("data")}`, async () => {
    const { metrics, evaluations } = await run("inception-v3-mixed7", ...horses, "--epochs", "5");
    expect(metrics.train.accuracy).toBeGreaterThanOrEqual(0.99);
    expect(evaluations.map(({ validationCount }) => validationCount)).toEqual([256, 256, 256, 256, 256]);
    // One epoch differs from the next by two or three pictures.
    expect(mean(evaluations.slice(-3).map(({ validationAccuracy }) => validationAccuracy!))).toBeGreaterThanOrEqual(0.95);
  });

  test.skipIf(skippedWithout("data"))(`mobilenet-v2-frozen: 0.84 over three split seeds${without("data")}`, async () => {
    const accuracies: number[] = [];
    for (const seed of ["1", "2", "3"]) {
      const { metrics } = await run("mobilenet-v2-frozen", ...flowers, "--split-seed", seed);
      accuracies.push(metrics.test.accuracy!);
    }
    expect(mean(accuracies)).toBeGreaterThanOrEqual(0.84);
  });

  test.skipIf(skippedWithout("data"))(`mobilenet-v2-last-block, 2 epochs of 10: 0.84${without("data")}`, async () => {
    const { metrics } = await run("mobilenet-v2-last-block", ...flowers, "--epochs", "2");
    expect(metrics.test.accuracy).toBeGreaterThanOrEqual(0.84);
  });

  test("mobilenet-v2-full, 10 steps on 100 pictures: far above chance, which is 0.2", async () => {
    const { metrics } = await run("mobilenet-v2-full", "--dataset", halves, "--steps", "10", "--evaluate-every-steps", "10");
    expect(metrics.test.count).toBe(100);
    expect(metrics.test.accuracy).toBeGreaterThanOrEqual(0.5);
  });

  test("mobilenet-v2-scratch, 30 epochs on 100 pictures: learns them, and little more", async () => {
    const { metrics } = await run("mobilenet-v2-scratch", "--dataset", halves, "--epochs", "30");
    expect(metrics.train.accuracy).toBeGreaterThanOrEqual(0.9);
    expect(metrics.test.count).toBe(100);
    // From the pretrained weights it would be 0.51.
    expect(metrics.test.accuracy).toBeLessThanOrEqual(0.45);
  });
});
