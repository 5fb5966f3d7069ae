import assert from "node:assert";
import { expect, test } from "vitest";
import type { FeatureSpec } from "../../domain/features/feature-spec.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { resolveJob } from "../../domain/job/resolve.js";
import { grainRows, grainsOfTrainer } from "../../domain/training/grains.js";
import { planTraining } from "../../domain/training/training-plan.js";
import { JobFeatures } from "../../platform/job-features/job-features.js";
import { LaneStore } from "../../platform/lane-store/lane-store.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import { featureCut } from "../../test/support/feature-cut.js";
import type { Place } from "./row-sources.js";
import { StreamedRows } from "./streamed-rows.js";
import { MissingFeatures, type SplitRows, type TrainingSet } from "./training-set.js";

const VALUES = 512;
const TRAIN = 640;
const OTHERS = 100;
const BATCH = 32;
const VIEWS = 2;
const { signal } = new AbortController();
const alone: Place = { rank: 0, trainers: 1 };

const spec: FeatureSpec = {
  formatVersion: 1,
  backboneDigest: sha256Hex("a backbone"),
  cut: "feature",
  shape: [VALUES],
  preprocessing: { size: 8, resize: "STRETCH", resizeTo: 8, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] },
  dtype: "float32",
  profile: { engine: "onnx", engineVersion: "1", device: "cpu", instructionSet: "avx2", threads: 0, batch: 0, decoder: "d" },
};

/** 840 pictures, whose features are number of the picture and view; 3 MB, of which 1 MiB may be held. `held` counts the bytes that were read of lanes. */
async function setup() {
  const inner = memoryObjectStore();
  const counted = { bytes: 0 };
  const store: ObjectStore = {
    ...inner,
    readRange: async (key, from, to) => {
      const body = await inner.readRange(key, from, to);
      counted.bytes += body?.length ?? 0;
      return body;
    },
  };
  const features = await JobFeatures.open(store, spec, {
    ...spec,
    augmentation: { horizontalFlip: true, verticalFlip: false },
    viewsRevision: 1,
  });
  const total = TRAIN + 2 * OTHERS;
  const ids = Array.from({ length: total }, (_, number) => sha256Hex(`picture ${String(number)}`));
  for (let view = 0; view < VIEWS; view++) {
    for (let from = 0; from < (view === 0 ? total : TRAIN); from += 70) {
      const numbers = Array.from({ length: Math.min(70, total - from) }, (_, row) => from + row);
      const values = new Float32Array(numbers.length * VALUES).fill(view);
      numbers.forEach((number, row) => (values[row * VALUES] = number));
      await features.append([
        await features.writeShard({ view, imageIds: imageIdBytes(numbers.map((number) => ids[number]!)), features: values }),
      ]);
    }
  }
  const rowsOf = (from: number, to: number): SplitRows & { readonly numbers: readonly number[] } => {
    const numbers = Array.from({ length: to - from }, (_, row) => from + row).sort((a, b) => (ids[a]! < ids[b]! ? -1 : 1));
    return {
      numbers,
      rows: numbers.length,
      labels: Int32Array.from(numbers, (number) => number % 3),
      uris: numbers.map(String),
      imageIds: imageIdBytes(numbers.map((number) => ids[number]!)),
    };
  };
  const set = {
    train: rowsOf(0, TRAIN),
    validation: rowsOf(TRAIN, TRAIN + OTHERS),
    test: rowsOf(TRAIN + OTHERS, total),
    resident: undefined,
  };
  const job = resolveJob({
    dataset: { source: "x" },
    views: { count: VIEWS, horizontalFlip: true },
    training: { batchSize: BATCH, grains: 4, steps: 1000, featureMemoryMib: 1 },
  });
  const counts = (split: SplitRows): number[] => [0, 1, 2].map((label) => split.labels.filter((each) => each === label).length);
  const plan = planTraining(job, featureCut([VALUES]), {
    classes: ["a", "b", "c"],
    counts: { train: counts(set.train), validation: counts(set.validation), test: counts(set.test) },
  });
  const open = (of: TrainingSet = set): StreamedRows => new StreamedRows(plan, plan.streaming!, of, new LaneStore(store, features));
  return { inner, store, set, plan, open, counted };
}

/** Pictures and views of the batches of some steps, `[steps][places]`; checks that labels and the rest of the features belong to them. */
async function draw(source: StreamedRows, places: readonly Place[], steps: readonly number[]): Promise<string[][]> {
  const drawn = steps.map(() => new Array<string>(BATCH).fill(""));
  for (const place of places) {
    await source.prepare(place, signal);
    const batches = await source.openBatches(place, signal);
    const { order, rows } = batches;
    const grains = grainsOfTrainer(4, place.trainers, place.rank);
    const [features] = rows.views;
    for (const [index, step] of steps.entries()) {
      const batch = await order.batch(step);
      assert.equal(batch.length, BATCH);
      for (let at = grainRows(BATCH, 4, grains.from).from; at < grainRows(BATCH, 4, grains.to - 1).to; at++) {
        const row = batch[at]!;
        const number = features![row * VALUES]!;
        assert.equal(rows.labels[row], number % 3);
        const rest = new Set(features!.subarray(row * VALUES + 1, (row + 1) * VALUES));
        assert.equal(rest.size, 1);
        drawn[index]![at] = `${String(number)}/${String([...rest][0])}`;
      }
    }
    await batches.close();
  }
  return drawn;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);
const STEPS_OF_EPOCH = TRAIN / BATCH;

test("every training picture once an epoch, in another order and the next view each time", async () => {
  const { open } = await setup();
  const steps = await draw(open(), [alone], range(0, 3 * STEPS_OF_EPOCH));
  const epochs = [0, 1, 2].map((epoch) => steps.slice(epoch * STEPS_OF_EPOCH, (epoch + 1) * STEPS_OF_EPOCH).flat());
  for (const [epoch, rows] of epochs.entries()) {
    expect(new Set(rows)).toEqual(new Set(range(0, TRAIN).map((number) => `${String(number)}/${String(epoch % VIEWS)}`)));
  }
  const firstOf = (epoch: number): string =>
    epochs[epoch]!.slice(0, BATCH)
      .map((row) => row.split("/")[0])
      .sort()
      .join(" ");
  expect(new Set([0, 1, 2].map(firstOf)).size).toBe(3);
});

test.each([2, 3, 4])("%i trainers draw the same batches, each from the lanes of its grains", async (trainers) => {
  const { open } = await setup();
  const places = range(0, trainers).map((rank) => ({ rank, trainers }));
  const steps = range(0, 50);
  expect(await draw(open(), places, steps)).toEqual(await draw(open(), [alone], steps));
});

test("a trainer that begins at a later step draws what it would have drawn there", async () => {
  const { open } = await setup();
  const all = await draw(open(), [alone], range(0, 60));
  for (const from of [1, 19, 20, 33])
    expect(await draw(open(), [{ rank: 1, trainers: 2 }], range(from, 60))).toEqual(
      all.slice(from).map((batch) => batch.map((row, place) => (place < BATCH / 2 ? "" : row))),
    );
});

test("an epoch reads the training features once, whatever the number of trainers", async () => {
  for (const trainers of [1, 2, 4]) {
    const { open, counted } = await setup();
    const source = open();
    for (const rank of range(0, trainers)) await source.prepare({ rank, trainers }, signal);
    counted.bytes = 0;
    await draw(
      source,
      range(0, trainers).map((rank) => ({ rank, trainers })),
      range(0, 10 * STEPS_OF_EPOCH),
    );
    const epochs = counted.bytes / (TRAIN * VALUES * 4);
    // At the end each lane has read one window ahead.
    expect(epochs).toBeGreaterThanOrEqual(10);
    expect(epochs).toBeLessThan(10.5);
  }
});

test("validation and test are read in their order, training rows in that of the lanes with their labels", async () => {
  const { open, set } = await setup();
  const source = open();
  for (const name of ["validation", "test", "train"] as const) {
    const split = source.split(name, signal);
    const { rows, labels } = split;
    const numbers: number[] = [];
    for (let from = 0; from < rows; from += 33) {
      const to = Math.min(rows, from + 33);
      const into = new Float32Array(40 * VALUES);
      await split.read(from, to, into);
      for (let row = 0; row < to - from; row++) {
        numbers.push(into[row * VALUES]!);
        assert.equal(labels[from + row], into[row * VALUES]! % 3);
      }
      expect(into.subarray((to - from) * VALUES).every((value) => value === 0)).toBe(true);
    }
    if (name === "train") expect(new Set(numbers)).toEqual(new Set(set.train.numbers));
    else expect(numbers).toEqual(set[name].numbers);
  }
});

test("features that are gone are named: while lanes are made, and while a damaged lane is read", async () => {
  const { open, inner, store, set } = await setup();
  const source = open();
  await source.prepare(alone, signal);
  const batches = await source.openBatches(alone, signal);
  for await (const key of store.list("features/")) if (/\.(rows|arrow)$/u.test(key)) await inner.delete(key);
  const endless = async (): Promise<void> => {
    for (let step = 0; ; step++) await batches.order.batch(step);
  };
  await expect(endless()).rejects.toBeInstanceOf(MissingFeatures);
  await batches.close();

  for await (const key of store.list("features/")) if (key.endsWith("index.json") && key.includes("/lanes/")) await inner.delete(key);
  const error: unknown = await open()
    .prepare(alone, signal)
    .catch((thrown: unknown) => thrown);
  assert(error instanceof MissingFeatures);
  // In whatever view: all at once.
  expect(error.imageIds).toHaveLength(set.train.rows + 2 * OTHERS);
});

test("closed while the next window is read: nothing is read behind it", async () => {
  const { open, counted } = await setup();
  const source = open();
  await source.prepare(alone, signal);
  const batches = await source.openBatches(alone, signal);
  await batches.order.batch(0);
  await batches.close();
  const { bytes } = counted;
  await new Promise((resolve) => setImmediate(resolve));
  expect(counted.bytes).toBe(bytes);
  await batches.close();
});
