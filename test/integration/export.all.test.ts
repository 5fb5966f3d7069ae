import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listEngines } from "../../platform/engine/engines.js";
import { graft } from "../support/program.js";
import { findPython, pythonWith, runPython } from "../support/python.js";
import { Exported, largestDifference } from "./exported.js";

/** What model files may differ by in the program that runs them. */
const tolerance = 1e-4;
const small = "mobilenet_v2_0.35_224";
const flowers = "samples/flowers";
const classes = ["daisy", "dandelion", "roses", "sunflowers", "tulips"];

const folder = mkdtempSync(join(tmpdir(), "graft-export-"));
const store = join(folder, "store");
const pictures = picturesOf(classes, 4);

afterAll(() => rmSync(folder, { recursive: true }));

const hasTensorflow = (await listEngines()).some(({ name, available }) => name === "tensorflow" && available);

describe.skipIf(!hasTensorflow).each([
  ["a convolutional tail with batch statistics", ["--cut", "block_15_add", "--batch-norm", "BATCH"]],
  ["a whole network, trained from the pixels on", ["--cut", "input", "--batch-norm", "BATCH"]],
])("what TensorFlow trained: %s", (name, flags) => {
  const result = new Exported(join(folder, name.replaceAll(/\W/g, "-")));
  const dataset = join(folder, "train-and-test");
  const tested = classes.flatMap((label) =>
    readdirSync(join(flowers, label))
      .sort()
      .slice(20, 28)
      .map((file) => ({ label, file })),
  );

  beforeAll(async () => {
    for (const label of classes) {
      for (const file of readdirSync(join(flowers, label)).sort().slice(0, 20))
        cpSync(join(flowers, label, file), join(dataset, "train", label, file));
    }
    for (const { label, file } of tested) cpSync(join(flowers, label, file), join(dataset, "test", label, file));
    const quick = ["--backbone", small, "--size", "96", "--batch", "16", "--steps", "12", "--learning-rate", "0.003"];
    await graft(["train", dataset, "--store", store, "--out", result.folder, ...quick, ...flags]);
  });

  test("onnxruntime and TensorFlow.js give the probabilities of graft predict", async () => {
    await expectAgreement(result, pictures.slice(0, 5));
  });

  test("the exported model has the accuracy and loss that the training engine found on the test pictures", async () => {
    const paths = tested.map(({ label, file }) => join(dataset, "test", label, file));
    const probabilities = await result.byOnnxruntime(await result.pixels(paths), paths.length);
    const labels = tested.map(({ label }) => result.labels.indexOf(label));
    const right = probabilities.filter((row, index) => row.indexOf(Math.max(...row)) === labels[index]).length;
    const loss = probabilities.reduce((sum, row, index) => sum - Math.log(row[labels[index]!]!), 0) / paths.length;
    const { test: measured } = result.metrics;
    expect([measured.count, measured.accuracy]).toEqual([paths.length, right / paths.length]);
    expect(measured.loss).toBeCloseTo(loss, 4);
  });
});

describe("what graft train exports", () => {
  const result = new Exported(join(folder, "flowers"));
  beforeAll(() => graft(["train", flowers, "--store", store, "--out", result.folder]));

  test("onnxruntime and TensorFlow.js give the probabilities of graft predict on 20 pictures", async () => {
    await expectAgreement(result, pictures);
  });

  test("the tensorboard package reads the scalars and histograms of one run", ({ skip }) => {
    const found = pythonWith(["tensorboard", "setuptools<81"]);
    if ("missing" in found) return skip(found.missing);
    const { scalars, histograms } = readEvents(found.python, result);

    const kinds = ["weights", "biases", "pre_activations", "activations"].map((kind) => `head/output/${kind}`);
    expect(Object.keys(histograms).sort()).toEqual([...kinds].sort());
    const moments = kinds.flatMap((tag) => ["mean", "deviation", "minimum", "maximum"].map((moment) => `${tag}/${moment}`));
    const losses = ["train/loss", "train/accuracy", "validation/loss", "validation/accuracy", "learning_rate"];
    expect(Object.keys(scalars).sort()).toEqual([...losses, ...moments].sort());
    const steps = scalars["validation/accuracy"]!.map(([step]) => step);
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
    expect(steps.at(-1)).toBe(result.metrics.train.steps);
    expect(scalars["validation/accuracy"]!.at(-1)![2]).toBeCloseTo(result.metrics.validation.accuracy!, 6);

    // The activations of the output layer are probabilities: one a class for each validation picture, adding up to 1.
    const activations = histograms["head/output/activations"]!.at(-1)!;
    expect(activations.num).toBe(result.metrics.validation.count! * classes.length);
    expect(activations.sum).toBeCloseTo(result.metrics.validation.count!, 3);
    expect(activations.min).toBeGreaterThanOrEqual(0);
    expect(activations.max).toBeLessThanOrEqual(1);
  });

  test("weightsSha256 is what a Python script computes from weights.safetensors", ({ skip }) => {
    const python = findPython();
    if (python === undefined) return skip("no Python 3 on this machine");
    const digest = runPython(python, "test/support/weights_sha256.py", join(result.folder, "weights.safetensors")).trim();
    expect(digest).toBe(result.metrics.weightsSha256);
  });

  test("the report is one file without any external reference, and its pictures can be decoded", async () => {
    const report = result.read("report.html").toString("utf8");
    expect(externalReferences(report)).toEqual([]);

    const inline = [...report.matchAll(/src="data:image\/jpeg;base64,([^"]+)"/g)].map(([, base64 = ""]) => Buffer.from(base64, "base64"));
    expect(inline.length).toBeGreaterThanOrEqual(classes.length * 8);
    for (const picture of inline) expect((await sharp(picture).stats()).channels).toHaveLength(3);
  });

  test("a second result in the same folder leaves no event file of the first", async () => {
    const out = join(folder, "twice");
    await graft(["train", flowers, "--store", store, "--out", out, "--steps", "2"]);
    writeFileSync(join(out, "events", "events.out.tfevents.1.graft"), "");
    writeFileSync(join(out, "events", "notes.txt"), "");
    await graft(["train", flowers, "--store", store, "--out", out, "--steps", "3"]);
    const names = readdirSync(join(out, "events"));
    expect(names.filter((name) => name.startsWith("events."))).toHaveLength(1);
    expect(names).toContain("notes.txt");
  });

  test("it is a backbone for another job, which knows the features of the network that it came from", async () => {
    const added = await graft(["backbone", "add", result.folder, "--name", "flowers_v1", "--store", store]);
    expect(added).toContain("[1280] at global_average_pool");

    const second = new Exported(join(folder, "second"));
    await graft(["train", flowers, "--backbone", "flowers_v1", "--store", store, "--out", second.folder]);
    // Nothing below the cut was trained, so topology, weights and preprocessing come back with the bits that they had.
    expect(second.metrics.extraction).toMatchObject({ extracted: 0, cached: 200 });
    expect(second.metrics.weightsSha256).toBe(result.metrics.weightsSha256);
  });
});

describe("other heads", () => {
  test("one logit for two classes", async ({ skip }) => {
    const two = ["roses", "tulips"];
    for (const label of two) cpSync(join(flowers, label), join(folder, "two", label), { recursive: true });
    const result = await runJob("one-logit", { dataset: join(folder, "two"), training: { loss: "SIGMOID_CROSS_ENTROPY", steps: 40 } });

    const some = picturesOf(two, 5);
    const pixels = await result.pixels(some);
    const single = await result.byOnnxruntime(pixels, some.length);
    expect(single.every((row) => row.length === 1)).toBe(true);
    expect(largestDifference(single, await result.byTfjs(pixels, some.length))).toBeLessThan(tolerance);
    const both = await result.byPredict(some);
    expect(
      largestDifference(
        both,
        single.map(([p = 0]) => [1 - p, p]),
      ),
    ).toBeLessThan(tolerance);
    // The logit speaks for the second class of labels.txt.
    expect(result.labels).toEqual(two);
    expect(mean(both.slice(0, 5).map(([roses = 0]) => roses))).toBeGreaterThan(0.5);
    expect(mean(both.slice(5).map(([, tulips = 0]) => tulips))).toBeGreaterThan(0.5);
    expect(result.metrics.test.accuracy).toBeGreaterThan(0.5);

    const found = pythonWith(["tensorboard", "setuptools<81"]);
    if ("missing" in found) return skip(found.missing);
    const activations = readEvents(found.python, result).histograms["head/output/activations"]!.at(-1)!;
    expect(activations.num).toBe(result.metrics.validation.count);
    expect([activations.min >= 0, activations.max <= 1]).toEqual([true, true]);
  });

  test("a hidden layer between dropouts", async ({ skip }) => {
    const layers = [{ dropout: { rate: 0.2 } }, { dense: { units: 64, activation: "RELU" } }, { dropout: { rate: 0.5 } }];
    const result = await runJob("hidden", { dataset: flowers, head: { layers }, training: { steps: 80 } });
    await expectAgreement(result, pictures.slice(0, 10));
    expect(result.metrics.test.accuracy).toBeGreaterThan(0.5);

    const found = pythonWith(["tensorboard", "setuptools<81"]);
    if ("missing" in found) return skip(found.missing);
    const { histograms } = readEvents(found.python, result);
    const hidden = Object.keys(histograms).filter((tag) => !tag.startsWith("head/output/"));
    expect(hidden.map((tag) => tag.split("/").at(-1)).sort()).toEqual(["activations", "biases", "pre_activations", "weights"]);
  });
});

/** Runs a job on the small backbone from a job file. */
async function runJob(
  name: string,
  { dataset, head = {}, training }: { dataset: string; head?: object; training: object },
): Promise<Exported> {
  const file = join(folder, `${name}.json`);
  const spec = { dataset: { source: "" }, backbone: { name: small }, head, training };
  writeFileSync(file, JSON.stringify({ apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: { name }, spec }));
  const result = new Exported(join(folder, name));
  await graft(["run", file, "--dataset", dataset, "--store", store, "--out", result.folder]);
  return result;
}

async function expectAgreement(result: Exported, some: readonly string[]): Promise<void> {
  const pixels = await result.pixels(some);
  const predicted = await result.byPredict(some);
  expect(predicted.flat().every((probability) => probability >= 0 && probability <= 1)).toBe(true);
  for (const row of predicted) expect(row.reduce((sum, probability) => sum + probability, 0)).toBeCloseTo(1, 5);
  expect(largestDifference(await result.byOnnxruntime(pixels, some.length), predicted)).toBeLessThan(tolerance);
  expect(largestDifference(await result.byTfjs(pixels, some.length), predicted)).toBeLessThan(tolerance);
}

interface Events {
  readonly scalars: Record<string, [step: number, wallSeconds: number, value: number][]>;
  readonly histograms: Record<string, { step: number; min: number; max: number; num: number; sum: number }[]>;
}

function readEvents(python: string, result: Exported): Events {
  return JSON.parse(runPython(python, "test/support/read_events.py", join(result.folder, "events"))) as Events;
}

/** Values of attributes and of style sheets that name anything outside the page, and elements that would run or load something. */
function externalReferences(page: string): string[] {
  const tags = page.match(/<[a-z!/][^>]*>/gi) ?? [];
  const loading = tags.filter((tag) => /^<(script|link|iframe|object|embed|base|form|audio|video|source|import)\b/i.test(tag));
  const attributes = tags.flatMap((tag) =>
    [...tag.matchAll(/\s(src|srcset|href|xlink:href|action|data|poster|background|ping|on\w+)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)/gi)].map(
      ([, name = "", value = ""]) => ({ name, value: value.replace(/^["']|["']$/g, "") }),
    ),
  );
  const named = attributes.filter(({ name, value }) => name.startsWith("on") || !/^(data:image\/|#)/.test(value));
  const styles = [...page.matchAll(/url\([^)]*\)|@import[^;]*/gi)]
    .map(([text]) => text)
    .filter((text) => !/url\(["']?(data:|#)/.test(text));
  const refresh = tags.filter((tag) => /http-equiv=["']?refresh/i.test(tag));
  return [...loading, ...named.map(({ name, value }) => `${name}=${value.slice(0, 100)}`), ...styles, ...refresh];
}

function picturesOf(labels: readonly string[], each: number): string[] {
  return labels.flatMap((label) =>
    readdirSync(join(flowers, label))
      .filter((name) => name.endsWith(".jpg"))
      .sort()
      .slice(0, each)
      .map((name) => join(flowers, label, name)),
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
