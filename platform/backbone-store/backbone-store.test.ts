import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError, type ErrorCode } from "../../domain/errors.js";
import { backboneDigest, type Backbone } from "../../domain/network/backbone.js";
import { INPUT } from "../../domain/network/network.js";
import { memoryObjectStore } from "../object-store/memory.js";
import type { ObjectStore } from "../object-store/object-store.js";
import { BackboneStore } from "./backbone-store.js";
import { findBackbone } from "./bundled.js";

function tiny(name: string, value: number): Backbone {
  return {
    name,
    network: {
      name,
      inputShape: [4, 4, 3],
      layers: [
        { name: "global_average_pool", kind: "globalAveragePool", inputs: [INPUT] },
        { name: "dense", kind: "dense", units: 2, bias: false, inputs: ["global_average_pool"] },
      ],
      output: "dense",
    },
    weights: new Map([["dense/kernel", { shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, value) }]]),
    preprocessing: { size: 4, resize: "STRETCH", resizeTo: 4, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] },
    origin: `made for ${name}`,
    licence: "CC0",
  };
}

async function refused(code: ErrorCode, pattern: RegExp, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error) => error instanceof CodedError && error.code === code && pattern.test(error.message));
}

async function keysOf(objects: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of objects.list("")) keys.push(key);
  return keys;
}

test("what is added is found, once, however often it is added", async () => {
  const objects = memoryObjectStore();
  const store = new BackboneStore(objects);
  const digest = backboneDigest(tiny("a", 1));
  assert.deepEqual(await store.add(tiny("a", 1)), { digest, outcome: "created" });
  const keys = await keysOf(objects);
  assert.equal(keys.length, 5);
  assert.deepEqual(await store.add(tiny("a", 1)), { digest, outcome: "exists" });
  assert.deepEqual(await keysOf(objects), keys);
  assert.deepEqual(await store.find("a"), { digest, backbone: tiny("a", 1) });
  assert.deepEqual(await store.list(), [{ name: "a", digest, origin: "made for a", licence: "CC0" }]);
});

test("one content under two names is one object", async () => {
  const objects = memoryObjectStore();
  const store = new BackboneStore(objects);
  await store.add(tiny("a", 1));
  assert.equal((await store.add(tiny("b", 1))).outcome, "exists");
  assert.equal((await keysOf(objects)).length, 6);
  assert.equal((await store.find("b")).backbone.name, "b");
  assert.deepEqual(
    (await store.list()).map(({ name }) => name),
    ["a", "b"],
  );
});

test("a name means what was added last, and older content is found by its digest", async () => {
  const store = new BackboneStore(memoryObjectStore());
  const { digest: first } = await store.add(tiny("a", 1));
  const { digest: second } = await store.add(tiny("a", 2));
  assert.equal((await store.find("a")).digest, second);
  assert.equal((await store.find("a", first)).backbone.weights.get("dense/kernel")?.data[5], 1);
  await store.add(tiny("a", 1));
  assert.equal((await store.find("a")).digest, first);
  assert.equal((await store.list()).length, 1);
});

test("labels are kept beside a backbone, whose digest does not know them; a name has those that it was last added with", async () => {
  const objects = memoryObjectStore();
  const store = new BackboneStore(objects);
  const { digest } = await store.add({ ...tiny("a", 1), labels: ["cat", "dog, hound"] });
  await store.add({ ...tiny("german", 1), labels: ["Katze", "Hund"] });
  await store.add(tiny("bare", 1));
  assert.equal(digest, backboneDigest(tiny("a", 1)));
  const labelsOf = async (name: string): Promise<unknown> => (await store.find(name, digest)).backbone.labels;
  assert.deepEqual(await Promise.all(["a", "german", "bare"].map(labelsOf)), [["cat", "dog, hound"], ["Katze", "Hund"], undefined]);

  await store.add({ ...tiny("a", 1), labels: ["cat", "dog"] });
  assert.deepEqual(await labelsOf("a"), ["cat", "dog"]);
  await store.add({ ...tiny("a", 1), labels: ["cat", "dog"] });
  const keys = await keysOf(objects);
  assert.equal(keys.filter((key) => key.startsWith("backbones/names/a/")).length, 2);

  const [labels = ""] = keys.filter((key) => key.includes("/labels/"));
  assert.match(labels, new RegExp(`^backbones/${digest}/labels/[0-9a-f]{64}\\.txt$`));
  for (const key of keys.filter((each) => each.includes("/labels/"))) await objects.put(key, new TextEncoder().encode("x\ny\n"));
  await refused("OBJECT_CORRUPT", /labels\/[0-9a-f]{64}.txt \(a\) in memory: what is there has another SHA-256/, store.find("a"));
  await refused("WEIGHTS_INVALID", /classes do not match/, store.add({ ...tiny("a", 1), labels: ["cat"] }));
});

test("an unknown name or digest is refused and what is there is named", async () => {
  const store = new BackboneStore(memoryObjectStore());
  await refused("BACKBONE_UNKNOWN", /"a" is not in memory; there are none/, store.find("a"));
  const { digest } = await store.add(tiny("a", 1));
  await refused("BACKBONE_UNKNOWN", /"b".*there are a;/, store.find("b"));
  await refused(
    "BACKBONE_UNKNOWN",
    new RegExp(`"a" with digest ${"0".repeat(64)}.*of that name there are ${digest}`),
    store.find("a", "0".repeat(64)),
  );
  await refused("BACKBONE_UNKNOWN", /"\.\.\/\.\.\/x"/, store.find("../../x"));
});

test("a changed, damaged or missing object is noticed on reading", async () => {
  const objects = memoryObjectStore();
  const store = new BackboneStore(objects);
  const { digest } = await store.add(tiny("a", 1));
  const key = `backbones/${digest}/weights.safetensors`;
  const good = await objects.read(key);
  assert.ok(good);
  const changed = good.slice();
  changed[changed.length - 2] = (changed[changed.length - 2] ?? 0) ^ 0x40;
  await objects.put(key, changed);
  await refused("OBJECT_CORRUPT", /the digest of what is there is/, store.find("a"));
  await objects.put(key, good.subarray(0, 20));
  await refused("OBJECT_CORRUPT", /safetensors/, store.find("a"));
  await objects.delete(key);
  await refused("OBJECT_MISSING", /weights.safetensors is not in memory/, store.find("a"));
  await store.add(tiny("a", 1));
  assert.equal((await store.find("a")).digest, digest);
});

test("a damaged backbone does not keep another from being found", async () => {
  const objects = memoryObjectStore();
  const store = new BackboneStore(objects);
  const { digest: damaged } = await store.add(tiny("a", 1));
  const { digest } = await store.add(tiny("b", 2));
  await objects.put(`backbones/${damaged}/origin.json`, new Uint8Array(1));
  assert.equal((await findBackbone(store, "b", undefined)).digest, digest);
  await refused("OBJECT_CORRUPT", /delete these objects and add the backbone again/, findBackbone(store, "a", undefined));
});

test("of many writers of one name none is lost", async () => {
  const store = new BackboneStore(memoryObjectStore());
  const added = await Promise.all([1, 2, 3, 4, 5, 6].map((value) => store.add(tiny("a", value))));
  for (const { digest } of added) assert.equal((await store.find("a", digest)).digest, digest);
});
