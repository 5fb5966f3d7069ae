import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { FeatureSpec } from "../../domain/features/feature-spec.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { scaledToOne } from "../../domain/network/preprocessing.js";
import { filesystemObjectStore } from "../object-store/filesystem.js";
import { memoryObjectStore } from "../object-store/memory.js";
import type { ObjectStore } from "../object-store/object-store.js";
import { FeatureStore, type ShardRows } from "./feature-store.js";

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

const spec: FeatureSpec = {
  formatVersion: 1,
  backboneDigest: "cd".repeat(32),
  cut: "pool",
  shape: [2, 3],
  preprocessing: { size: 8, resize: "STRETCH", resizeTo: 8, ...scaledToOne },
  dtype: "float32",
  profile: { engine: "test", engineVersion: "1", device: "cpu", instructionSet: "none", threads: 1, batch: 1, decoder: "" },
};

function idOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

/** What the engine would say about a picture. */
function featureOf(name: string): Float32Array {
  const digest = createHash("sha256").update(`feature of ${name}`).digest();
  return Float32Array.from({ length: 6 }, (_, index) => digest[index] as number);
}

function rowsOf(names: readonly string[], options: { view?: number; thumbnails?: boolean } = {}): ShardRows {
  return {
    view: options.view ?? 0,
    imageIds: Buffer.concat(names.map((name) => Buffer.from(idOf(name), "hex"))),
    features: Float32Array.from(names.flatMap((name) => [...featureOf(name)])),
    ...(options.thumbnails === true ? { thumbnails: names.map((name) => new Uint8Array(Buffer.from(`JPEG ${name}`))) } : {}),
  };
}

function names(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `picture ${from + index}`);
}

async function extract(
  features: FeatureStore,
  pictures: readonly string[],
  options: { view?: number; thumbnails?: boolean } = {},
): Promise<CommittedShard> {
  const shard = await features.writeShard(rowsOf(pictures, options));
  await features.append([shard]);
  return shard;
}

async function assertFeatures(features: FeatureStore, pictures: readonly string[], view = 0): Promise<void> {
  const read = await features.readRows(pictures.map(idOf), view);
  assert.deepEqual(read, { kind: "complete", features: Float32Array.from(pictures.flatMap((name) => [...featureOf(name)])) });
}

async function keysUnder(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list(prefix)) keys.push(key);
  return keys;
}

/** Flips one bit of the shard where its features lie. */
async function damage(store: ObjectStore, features: FeatureStore, shard: CommittedShard): Promise<void> {
  const key = `features/${features.digest}/shards/${shard.sha256}.arrow`;
  const body = await store.read(key);
  assert.ok(body !== undefined);
  const at = Buffer.from(body).indexOf(Buffer.from(shard.imageIds, "base64")) + shard.rows * 32 + 20;
  body[at] = (body[at] as number) ^ 4;
  await store.put(key, body);
}

test("features come back in the order asked for, from several shards and with repeats", async () => {
  const features = await FeatureStore.open(memoryObjectStore(), spec);
  await extract(features, names(0, 50));
  await extract(features, names(50, 53));
  await extract(features, names(53, 90));
  const asked = ["picture 89", "picture 0", "picture 52", "picture 51", "picture 0", "picture 70", "picture 49"];
  await assertFeatures(features, asked);
  const bytes = Buffer.concat(asked.map((name) => Buffer.from(idOf(name), "hex")));
  assert.deepEqual(await features.readRows(new Uint8Array(bytes)), await features.readRows(asked.map(idOf)));
  assert.deepEqual(await features.readRows([]), { kind: "complete", features: new Float32Array(0) });
});

test("lookup names shard and row; other pictures, other views and other specs have to be extracted", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  const shard = await extract(features, names(0, 10));
  assert.deepEqual(features.lookup(idOf("picture 7")), { shard: shard.sha256, row: 7 });
  assert.deepEqual(features.lookup(Buffer.from(idOf("picture 7"), "hex"), 0), { shard: shard.sha256, row: 7 });
  assert.equal(features.has(idOf("picture 10")), false);
  assert.equal(features.has(idOf("picture 7"), 1), false);
  await extract(features, names(0, 2), { view: 1 });
  assert.equal(features.has(idOf("picture 1"), 1), true);
  assert.equal(features.has(idOf("picture 7"), 1), false);
  const other = await FeatureStore.open(store, { ...spec, profile: { ...spec.profile, instructionSet: "avx2" } });
  assert.equal(other.has(idOf("picture 7")), false);
  assert.deepEqual(await other.readRows([idOf("picture 7"), idOf("picture 3"), idOf("picture 7")]), {
    kind: "missing",
    imageIds: [idOf("picture 7"), idOf("picture 3")],
    quarantined: [],
  });
});

test("a plan reads the index and writes nothing", async () => {
  const store = memoryObjectStore();
  const planned = new FeatureStore(store, spec);
  await planned.refresh();
  assert.equal(planned.has(idOf("picture 0")), false);
  assert.deepEqual(await keysUnder(store, ""), []);
  await extract(await FeatureStore.open(store, spec), names(0, 3));
  await planned.refresh();
  assert.equal(planned.has(idOf("picture 0")), true);
});

test("a shard that is not in the store, or is cut short, is not appended", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  const shard = await features.writeShard(rowsOf(names(0, 3)));
  const missing = (error: unknown) => error instanceof CodedError && error.code === "OBJECT_MISSING";
  await assert.rejects(features.append([{ ...shard, sha256: "00".repeat(32) }]), missing);
  await assert.rejects(features.append([{ ...shard, bytes: shard.bytes + 1 }]), missing);
  assert.deepEqual(await keysUnder(store, `features/${features.digest}/index/`), []);
});

test("the same shard committed again and again, by several at once, is one entry", async () => {
  const store = memoryObjectStore();
  const each = await Promise.all(Array.from({ length: 6 }, () => FeatureStore.open(store, spec)));
  const shards = await Promise.all(each.map((features) => features.writeShard(rowsOf(names(0, 20)))));
  assert.equal(new Set(shards.map((shard) => shard.sha256)).size, 1);
  await Promise.all(each.map((features, index) => features.append([shards[index] as CommittedShard])));
  await (each[0] as FeatureStore).append(shards);
  assert.equal((await keysUnder(store, `features/${spec && (each[0] as FeatureStore).digest}/index/`)).length, 1);
  for (const features of each) await assertFeatures(features, names(0, 20));
});

test("two processes append at the same time on one folder and neither loses an entry", async () => {
  const folder = await mkdtemp(join(tmpdir(), "graft-features-"));
  folders.push(folder);
  const [left, right] = await Promise.all([
    FeatureStore.open(filesystemObjectStore(folder), spec),
    FeatureStore.open(filesystemObjectStore(folder), spec),
  ]);
  const work = async (features: FeatureStore, first: number) => {
    for (let round = 0; round < 25; round++) await extract(features, names(first + round * 3, first + round * 3 + 3));
  };
  await Promise.all([work(left, 0), work(right, 1_000), work(right, 2_000)]);
  const store = filesystemObjectStore(folder);
  assert.equal((await keysUnder(store, `features/${left.digest}/index/`)).length, 75);
  const all = [...names(0, 75), ...names(1_000, 1_075), ...names(2_000, 2_075)];
  for (const features of [left, right, await FeatureStore.open(store, spec)]) {
    await features.refresh();
    await assertFeatures(features, all);
  }
});

test("a corrupt shard is quarantined and its features reported; extracted again they count again, under the same name", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  await extract(features, names(0, 10));
  const broken = await extract(features, names(10, 20));
  await damage(store, features, broken);

  const read = await features.readRows(names(5, 15).map(idOf));
  assert.equal(read.kind, "missing");
  assert.deepEqual(read.kind === "missing" && read.imageIds, names(10, 15).map(idOf));
  assert.match((read.kind === "missing" && read.quarantined[0]?.reason) || "", /^its bytes have SHA-256 [0-9a-f]{64}$/);
  assert.deepEqual(await keysUnder(store, `features/${features.digest}/quarantine/`), [
    `features/${features.digest}/quarantine/${broken.sha256}.arrow`,
  ]);
  assert.equal(await store.read(`features/${features.digest}/shards/${broken.sha256}.arrow`), undefined);

  const later = await FeatureStore.open(store, spec);
  for (const each of [features, later]) {
    assert.equal(each.has(idOf("picture 12")), false);
    assert.equal(each.has(idOf("picture 19")), false);
    assert.equal(each.has(idOf("picture 5")), true);
  }
  assert.equal((await extract(later, names(10, 20))).sha256, broken.sha256);
  for (const each of [features, later, await FeatureStore.open(store, spec)]) {
    await each.refresh();
    await assertFeatures(each, names(0, 20));
  }
});

test("a shard that the store itself knows to be damaged, and does not give, is put aside too", async () => {
  const memory = memoryObjectStore();
  const damaged = new Set<string>();
  const store: ObjectStore = {
    ...memory,
    read: async (key) => {
      if (damaged.has(key)) throw new CodedError("OBJECT_CORRUPT", key);
      return memory.read(key);
    },
    put: async (key, body) => {
      damaged.delete(key);
      return memory.put(key, body);
    },
    delete: async (key) => {
      damaged.delete(key);
      return memory.delete(key);
    },
  };
  const features = await FeatureStore.open(store, spec);
  const shard = await extract(features, names(0, 10), { thumbnails: true });
  damaged.add(`features/${features.digest}/shards/${shard.sha256}.arrow`);
  damaged.add(`features/${features.digest}/thumbnails/${shard.thumbnails}.arrow`);
  assert.equal((await features.readThumbnails([idOf("picture 1")])).size, 0);
  const read = await features.readRows([idOf("picture 1")]);
  assert.match((read.kind === "missing" && read.quarantined[0]?.reason) || "", /the store gives other bytes/);
  await extract(features, names(0, 10), { thumbnails: true });
  await assertFeatures(features, names(0, 10));
  assert.deepEqual([...damaged], []);
});

test("a shard that is gone is reported in the same way", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  const shard = await extract(features, names(0, 4));
  await store.delete(`features/${features.digest}/shards/${shard.sha256}.arrow`);
  assert.deepEqual(await features.readRows([idOf("picture 2")]), {
    kind: "missing",
    imageIds: [idOf("picture 2")],
    quarantined: [{ shard: shard.sha256, reason: "the object is gone" }],
  });
});

test("a reader with an old index finds what another process repaired", async () => {
  const store = memoryObjectStore();
  const old = await FeatureStore.open(store, spec);
  const shard = await extract(old, names(0, 4));
  const other = await FeatureStore.open(store, spec);
  await damage(store, other, shard);
  assert.equal((await other.readRows(names(0, 4).map(idOf))).kind, "missing");
  // Extracted again in other shards: the old one's name stays free.
  await extract(other, names(0, 2));
  await extract(other, names(2, 4));
  const entries = await keysUnder(store, `features/${old.digest}/index/`);
  await assertFeatures(old, names(0, 4));
  assert.deepEqual(await keysUnder(store, `features/${old.digest}/index/`), entries, "the old reader must not quarantine anything");
});

test("two readers that find the same damage quarantine it once", async () => {
  const store = memoryObjectStore();
  const [left, right] = [await FeatureStore.open(store, spec), await FeatureStore.open(store, spec)];
  const shard = await extract(left, names(0, 4));
  await right.refresh();
  await damage(store, left, shard);
  const reads = await Promise.all([left.readRows([idOf("picture 1")]), right.readRows([idOf("picture 1")])]);
  assert.deepEqual(
    reads.map((read) => read.kind),
    ["missing", "missing"],
  );
  assert.equal((await keysUnder(store, `features/${left.digest}/index/`)).length, 2);
});

test("a worker that stores a shard over a damaged one of that name repairs it", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  const shard = await extract(features, names(0, 4));
  await damage(store, features, shard);
  await features.writeShard(rowsOf(names(0, 4)));
  await assertFeatures(features, names(0, 4));
});

test("an index entry that says another picture than the shard holds is not believed", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  const shard = await features.writeShard(rowsOf(names(0, 2)));
  const swapped = Buffer.concat(["picture 1", "picture 0"].map((name) => Buffer.from(idOf(name), "hex"))).toString("base64");
  await features.append([{ ...shard, imageIds: swapped }]);
  const read = await features.readRows([idOf("picture 0")]);
  assert.equal(read.kind, "missing");
  assert.match((read.kind === "missing" && read.quarantined[0]?.reason) || "", /row 1 belongs to another picture/);
});

test("a damaged index entry is passed over and said; one of a newer format stops", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  await extract(features, names(0, 2));
  await extract(features, names(2, 4));
  await store.put(`features/${features.digest}/index/0.json`, Buffer.from('{"formatVersion":1,"ki'));
  const reopened = await FeatureStore.open(store, spec);
  assert.equal(reopened.has(idOf("picture 1")), false);
  assert.equal(reopened.has(idOf("picture 3")), true);
  assert.deepEqual(reopened.problems.length, 1);
  assert.match(reopened.problems[0] ?? "", /index\/0\.json: it is not JSON; the entry is passed over/);
  await extract(reopened, names(0, 2));
  await assertFeatures(reopened, names(0, 4));
  await store.create(`features/${features.digest}/index/3.json`, Buffer.from('{"formatVersion":2}'));
  await assert.rejects(reopened.refresh(), (error: unknown) => error instanceof CodedError && error.code === "STORE_FORMAT_NEWER");
});

test("thumbnails are found by picture; lost ones are left out and said", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  const first = await extract(features, names(0, 4), { thumbnails: true });
  const second = await extract(features, names(4, 8), { thumbnails: true });
  await extract(features, names(8, 9));
  const found = await features.readThumbnails(["picture 7", "picture 0", "picture 8", "nobody"].map(idOf));
  assert.deepEqual(
    [...found].map(([id, jpeg]) => [id, Buffer.from(jpeg).toString()]).sort(),
    [
      [idOf("picture 0"), "JPEG picture 0"],
      [idOf("picture 7"), "JPEG picture 7"],
    ].sort(),
  );
  assert.notEqual(first.thumbnails, second.thumbnails);
  await store.delete(`features/${features.digest}/thumbnails/${first.thumbnails}.arrow`);
  await store.put(`features/${features.digest}/thumbnails/${second.thumbnails}.arrow`, Buffer.from("damaged"));
  assert.equal((await features.readThumbnails(names(0, 8).map(idOf))).size, 0);
  assert.equal(features.problems.length, 2);
});

test("an error of the store is an error, not a missing feature", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  await extract(features, names(0, 4));
  await extract(features, names(4, 8));
  const failing: ObjectStore = {
    ...store,
    read: async (key) => {
      if (key.endsWith(".arrow")) throw new CodedError("STORE_UNAVAILABLE", "away");
      return store.read(key);
    },
  };
  const reader = await FeatureStore.open(failing, spec);
  await assert.rejects(reader.readRows(names(0, 8).map(idOf)), /away/);
  assert.equal((await keysUnder(store, `features/${features.digest}/index/`)).length, 2);
});

test("at most two shards are read at the same time, each once", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  for (let shard = 0; shard < 9; shard++) await extract(features, names(shard * 3, shard * 3 + 3));
  let open = 0;
  let most = 0;
  const reads: string[] = [];
  const slow: ObjectStore = {
    ...store,
    read: async (key) => {
      if (!key.endsWith(".arrow")) return store.read(key);
      reads.push(key);
      most = Math.max(most, ++open);
      await new Promise((resolve) => setImmediate(resolve));
      open -= 1;
      return store.read(key);
    },
  };
  const reader = await FeatureStore.open(slow, spec);
  await assertFeatures(reader, [...names(0, 27)].reverse());
  assert.equal(most, 2);
  assert.equal(new Set(reads).size, reads.length);
});

test("those who append at the same time in one process share entries of the index", async () => {
  const store = memoryObjectStore();
  const features = await FeatureStore.open(store, spec);
  const shards = await Promise.all(Array.from({ length: 20 }, (_, n) => features.writeShard(rowsOf(names(10 * n, 10 * n + 10)))));
  await Promise.all(shards.map((shard) => features.append([shard])));
  await features.append(shards);
  assert.ok((await keysUnder(store, `features/${features.digest}/index/`)).length <= 2);
  await assertFeatures(features, names(0, 200));
  await assertFeatures(await FeatureStore.open(store, spec), names(0, 200));
});
