import assert from "node:assert";
import { expect, test } from "vitest";
import type { FeatureSpec } from "../../domain/features/feature-spec.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { JobFeatures } from "../job-features/job-features.js";
import { memoryObjectStore } from "../object-store/memory.js";
import type { ObjectStore } from "../object-store/object-store.js";
import { type Lane, LaneStore, type OpenedLane } from "./lane-store.js";

const spec: FeatureSpec = {
  formatVersion: 1,
  backboneDigest: sha256Hex("a backbone"),
  cut: "pool",
  shape: [4],
  preprocessing: { size: 2, resize: "STRETCH", resizeTo: 2, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] },
  dtype: "float32",
  profile: { engine: "onnx", engineVersion: "1", device: "cpu", instructionSet: "avx2", threads: 0, batch: 0, decoder: "d" },
};
const ROW_BYTES = 16;
const { signal } = new AbortController();
const idOf = (number: number): string => sha256Hex(`picture ${String(number)}`);

/** Sixty pictures in six shards; two lanes of every other one, backwards. What is read and written is counted by key. */
async function setup() {
  const inner = memoryObjectStore();
  const read: string[] = [];
  const store: ObjectStore = {
    ...inner,
    read: (key) => {
      read.push(key);
      return inner.read(key);
    },
  };
  const features = await JobFeatures.open(store, spec, null);
  for (let shard = 0; shard < 6; shard++) {
    const numbers = Array.from({ length: 10 }, (_, row) => row * 6 + shard);
    await features.append([
      await features.writeShard({
        view: 0,
        imageIds: imageIdBytes(numbers.map(idOf)),
        features: Float32Array.from(numbers.flatMap((number) => [number, -number, 0.5, 1 / (number + 1)])),
      }),
    ]);
  }
  const laneOf = (numbers: readonly number[], chunkRows = 7): Lane => ({
    view: 0,
    chunkRows,
    imageIds: imageIdBytes(numbers.map(idOf)),
  });
  const even = Array.from({ length: 30 }, (_, row) => 58 - 2 * row);
  const odd = even.map((number) => number + 1);
  const keys = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const key of inner.list("features/")) if (key.includes("/lanes/")) found.push(key);
    return found;
  };
  const shardsRead = (): number => read.filter((key) => key.includes("/shards/")).length;
  return { store, inner, features, lanes: [laneOf(even), laneOf(odd)], numbers: [even, odd], laneOf, keys, read, shardsRead };
}

/** First value of every row of a lane, in its order. */
async function numbersOf(lane: OpenedLane): Promise<number[]> {
  const numbers: number[] = [];
  for (let chunk = 0; chunk * lane.chunkRows < lane.rows; chunk++) {
    const rows = Math.min(lane.chunkRows, lane.rows - chunk * lane.chunkRows);
    const into = new Float32Array(rows * 4);
    assert.deepEqual(await lane.readChunk(chunk, new Uint8Array(into.buffer), signal), { kind: "complete" });
    for (let row = 0; row < rows; row++) {
      expect([...into.subarray(row * 4 + 1, row * 4 + 4)]).toEqual([-into[row * 4]!, 0.5, Math.fround(1 / (into[row * 4]! + 1))]);
      numbers.push(into[row * 4]!);
    }
  }
  return numbers;
}

test.each([
  ["all rows at once", 60 * ROW_BYTES, 6],
  ["two shards at a time", 25 * ROW_BYTES, 6],
  ["less than a shard", 3 * ROW_BYTES, 24],
])("lanes are read in their order, packed with %s", async (_, memory, shardsRead) => {
  const { store, features, lanes, numbers, ...counted } = await setup();
  const packed = new LaneStore(store, features);
  assert.equal(await packed.open(lanes[0]!), undefined);
  expect(await packed.pack(lanes, memory, signal)).toEqual({ kind: "complete" });
  expect(counted.shardsRead()).toBe(shardsRead);
  for (const [index, lane] of lanes.entries()) expect(await numbersOf((await packed.open(lane))!)).toEqual(numbers[index]);
  expect(packed.problems).toEqual([]);
});

test("what stands is used again, by whoever wants the same rows in the same order, and by nobody else", async () => {
  const { store, features, lanes, laneOf, numbers, keys, shardsRead } = await setup();
  await new LaneStore(store, features).pack([lanes[0]!], 1000, signal);
  const before = { keys: await keys(), shards: shardsRead() };
  const other = new LaneStore(store, await JobFeatures.open(store, spec, null));
  await other.pack([laneOf(numbers[0]!)], 1000, signal);
  expect({ keys: await keys(), shards: shardsRead() }).toEqual(before);
  expect(await other.open(laneOf([...numbers[0]!].reverse()))).toBeUndefined();
  expect(await other.open(laneOf(numbers[0]!, 8))).toBeUndefined();
});

test("two that make one lane at the same time, differently, do no harm", async () => {
  const { store, features, lanes, numbers } = await setup();
  const stores = [new LaneStore(store, features), new LaneStore(store, await JobFeatures.open(store, spec, null))];
  await Promise.all([stores[0]!.pack(lanes, 1000, signal), stores[1]!.pack([lanes[1]!], 200, signal)]);
  expect(await numbersOf((await stores[0]!.open(lanes[1]!))!)).toEqual(numbers[1]);
});

test("what is asked for at the same time is made in one pass over the shards", async () => {
  const { store, features, laneOf, shardsRead } = await setup();
  const packed = new LaneStore(store, features);
  const numbers = [0, 1].map((lane) => Array.from({ length: 30 }, (_, row) => row + 30 * lane));
  const lanes = numbers.map((each) => laneOf(each));
  await Promise.all(lanes.map((lane) => packed.pack([lane], 1000, signal)));
  expect(shardsRead()).toBe(6);
  for (const [index, lane] of lanes.entries()) expect(await numbersOf((await packed.open(lane))!)).toEqual(numbers[index]);
});

test.each([
  ["a flipped bit", (body: Uint8Array) => body.map((byte, at) => (at === 20 ? byte ^ 1 : byte))],
  ["a short object", (body: Uint8Array) => body.subarray(0, 20)],
  ["no object", () => undefined],
])("%s: rows come from the shards, and the lane is made again by the next", async (_, damage) => {
  const { store, features, lanes, numbers, keys } = await setup();
  const packed = new LaneStore(store, features);
  await packed.pack(lanes, 1000, signal);
  const opened = (await packed.open(lanes[0]!))!;
  for (const key of await keys()) {
    if (!key.endsWith(".rows")) continue;
    const damaged = damage((await store.read(key))!);
    if (damaged === undefined) await store.delete(key);
    else await store.put(key, damaged);
  }
  expect(await numbersOf(opened)).toEqual(numbers[0]);
  expect(packed.problems).toHaveLength(1);
  expect(packed.problems[0]).toMatch(
    /\.rows: (rows 0 to \d do not fit their digest|the object is gone); its rows are read from the shards/u,
  );

  const next = new LaneStore(store, features);
  expect(await next.open(lanes[0]!)).toBeUndefined();
  await next.pack([lanes[0]!], 1000, signal);
  expect(await numbersOf((await next.open(lanes[0]!))!)).toEqual(numbers[0]);
  expect(next.problems).toEqual([]);
});

test("an index that is none is made again; one of a newer version is refused", async () => {
  const { store, features, lanes, numbers, keys } = await setup();
  await new LaneStore(store, features).pack([lanes[0]!], 1000, signal);
  const index = (await keys()).find((key) => key.endsWith("index.json"))!;
  const whole = JSON.parse(Buffer.from((await store.read(index))!).toString()) as { parts: object[] };
  for (const wrong of [
    "{",
    "null",
    JSON.stringify({ ...whole, parts: [] }),
    JSON.stringify({ ...whole, parts: [...whole.parts, ...whole.parts] }),
  ]) {
    await store.put(index, Buffer.from(wrong));
    const packed = new LaneStore(store, features);
    await packed.pack([lanes[0]!], 1000, signal);
    expect(packed.problems, wrong).toHaveLength(1);
    expect(await numbersOf((await packed.open(lanes[0]!))!)).toEqual(numbers[0]);
  }
  await store.put(index, Buffer.from(JSON.stringify({ ...whole, formatVersion: 2 })));
  await expect(new LaneStore(store, features).open(lanes[0]!)).rejects.toMatchObject({ code: "STORE_FORMAT_NEWER" });
});

test("features that are not there are named, and nothing is written", async () => {
  const { store, features, laneOf, keys } = await setup();
  const lane = laneOf([1, 2, 99, 3, 100]);
  expect(await new LaneStore(store, features).pack([lane], ROW_BYTES, signal)).toEqual({
    kind: "missing",
    imageIds: [idOf(99), idOf(100)],
  });
  expect(await keys()).toEqual([]);
});

test("damaged shards are quarantined while lanes are made, all at once, and their pictures are named", async () => {
  const { store, inner, features, lanes } = await setup();
  for (const number of [1, 2]) {
    const { shard } = features.lookup(idOf(number), 0)!;
    const key = `features/${features.digestOf(0)}/shards/${shard}.arrow`;
    await inner.put(
      key,
      (await inner.read(key))!.map((byte, at) => (at === 400 ? byte ^ 1 : byte)),
    );
  }
  const outcome = await new LaneStore(store, features).pack(lanes, 10 * ROW_BYTES, signal);
  assert(outcome.kind === "missing");
  const expected = Array.from({ length: 20 }, (_, row) => idOf(6 * (row >> 1) + 1 + (row & 1)));
  expect([...outcome.imageIds].sort()).toEqual(expected.sort());
});

test("who waited while features turned out to be missing learns it too; who asks later does not", async () => {
  const { store, features, lanes, laneOf } = await setup();
  const packed = new LaneStore(store, features);
  const missing = { kind: "missing", imageIds: [idOf(99)] };
  const first = packed.pack([laneOf([1, 99])], 1000, signal);
  await Promise.resolve(); // it is at work
  expect(await Promise.all([first, packed.pack([lanes[0]!], 1000, signal)])).toEqual([missing, missing]);
  expect(await packed.pack([lanes[0]!], 1000, signal)).toEqual({ kind: "complete" });
});
