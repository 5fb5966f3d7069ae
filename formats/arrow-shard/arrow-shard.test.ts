import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "vitest";
import { CodedError, type ErrorCode } from "../../domain/errors.js";
import { decodeShard, encodeShard, type Shard } from "./arrow-shard.js";
import { decodeThumbnails, encodeThumbnails } from "./thumbnails.js";

const golden = new URL("../../test/golden/shard-v1-3x4.arrow", import.meta.url);

function shardOf(rows: number, shape: readonly number[], seed = 0): Shard {
  const imageIds = new Uint8Array(rows * 32);
  for (let row = 0; row < rows; row++) imageIds.set(createHash("sha256").update(`picture ${seed} ${row}`).digest(), row * 32);
  const features = new Float32Array(rows * shape.reduce((product, length) => product * length, 1));
  for (let index = 0; index < features.length; index++) features[index] = Math.fround(index / 7 - seed);
  return { featureSpecDigest: "ab".repeat(32), shape, view: 0, imageIds, features };
}

/** Three rows of shape [4]; the values that docs/formats/feature-shard-v1.md shows. */
const small: Shard = {
  featureSpecDigest: createHash("sha256").update("spec").digest("hex"),
  shape: [4],
  view: 2,
  imageIds: shardOf(3, [4]).imageIds,
  features: new Float32Array([0, 1, -1, 0.5, 1e-45, 3.4028234663852886e38, -0, Math.fround(0.1), NaN, Infinity, -Infinity, 2]),
};

function fails(code: ErrorCode, text: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CodedError && error.code === code, String(error));
    assert.match(error.message, text);
    return true;
  };
}

test("the bytes of version 1 are those of the golden file", () => {
  const bytes = encodeShard(small);
  assert.equal(Buffer.compare(bytes, readFileSync(golden)), 0, "test/golden/shard-v1-3x4.arrow");
  assert.equal(Buffer.compare(bytes, encodeShard(structuredClone(small))), 0);
  const read = decodeShard(new Uint8Array(readFileSync(golden)));
  assert.deepEqual(read, small);
  // Bits, not values: -0 and the smallest subnormal number come back as they went in.
  assert.deepEqual(new Uint8Array(read.features.buffer, read.features.byteOffset, 48), new Uint8Array(small.features.buffer));
});

test("a shard of any shape comes back as it was, as views on the file's bytes", () => {
  for (const shape of [[1], [1280], [7, 7, 160], [3, 1, 2, 2]]) {
    const shard = shardOf(17, shape, 3);
    const bytes = encodeShard(shard);
    const read = decodeShard(bytes);
    assert.deepEqual(read, shard);
    assert.equal(read.features.buffer, bytes.buffer);
    assert.equal(read.imageIds.buffer, bytes.buffer);
  }
});

test("bytes at any offset of a larger buffer are read", () => {
  const bytes = encodeShard(small);
  for (const offset of [1, 3, 4, 8]) {
    const pool = new Uint8Array(bytes.length + 16);
    pool.set(bytes, offset);
    assert.deepEqual(decodeShard(pool.subarray(offset, offset + bytes.length)), small);
  }
});

test("features and ids that are views in the middle of larger arrays are written as such", () => {
  const large = shardOf(10, [5]);
  const middle = { ...large, imageIds: large.imageIds.subarray(3 * 32, 5 * 32), features: large.features.subarray(15, 25) };
  const copy = { ...middle, imageIds: middle.imageIds.slice(), features: middle.features.slice() };
  assert.equal(Buffer.compare(encodeShard(middle), encodeShard(copy)), 0);
  assert.deepEqual(decodeShard(encodeShard(middle)), copy);
});

test("any flipped bit in a feature, an id or a checksum is noticed and names its row", () => {
  const shard = shardOf(5, [6]);
  const bytes = encodeShard(shard);
  const read = decodeShard(bytes);
  const places = [read.features.byteOffset + 3 * 24 + 5, read.imageIds.byteOffset + 3 * 32 + 31];
  for (const place of places) {
    for (let bit = 0; bit < 8; bit++) {
      const damaged = bytes.slice();
      damaged[place] = (damaged[place] as number) ^ (1 << bit);
      assert.throws(
        () => decodeShard(damaged),
        fails("OBJECT_CORRUPT", /^feature-shard: row 3: checksum \d+ is stored, \d+ fits its bytes; /),
      );
    }
  }
});

test("whatever is not a whole shard is OBJECT_CORRUPT, cut at any length", () => {
  const bytes = encodeShard(small);
  assert.throws(() => decodeShard(new Uint8Array(0)), fails("OBJECT_CORRUPT", /feature-shard/));
  assert.throws(() => decodeShard(Buffer.from("hello, this is not Arrow at all")), fails("OBJECT_CORRUPT", /feature-shard/));
  assert.throws(
    () => decodeShard(encodeThumbnails({ imageIds: small.imageIds, jpegs: [1, 2, 3].map((n) => new Uint8Array(n)) })),
    fails("OBJECT_CORRUPT", /found thumbnails/),
  );
  for (let length = 0; length < bytes.length; length += 1) {
    assert.throws(
      () => decodeShard(bytes.slice(0, length)),
      (error: unknown) => error instanceof CodedError && error.code === "OBJECT_CORRUPT",
      `${length} bytes`,
    );
  }
});

test("a newer version says which graft reads it", () => {
  // The version stands as text before its key in the schema's metadata.
  const bytes = Buffer.from(encodeShard(small)).toString("latin1");
  const newer = Buffer.from(bytes.replaceAll(/1(?=\0{3}.{4}graft\.formatVersion)/gs, "2"), "latin1");
  assert.notEqual(Buffer.compare(Buffer.from(bytes, "latin1"), newer), 0, "the test found no version to change");
  assert.throws(() => decodeShard(new Uint8Array(newer)), fails("STORE_FORMAT_NEWER", /version 2; this graft reads up to version 1/));
});

test("what does not fit together is refused before it is written", () => {
  assert.throws(() => encodeShard({ ...small, features: small.features.subarray(1) }), /with 11 values/);
  assert.throws(() => encodeShard({ ...small, imageIds: new Uint8Array(0), features: new Float32Array(0) }), /a shard of 0 rows/);
  assert.throws(() => encodeShard(shardOf(4_097, [1])), /a shard of 4097 rows; expected 1 to 4096/);
});

test("thumbnails come back as they were, also empty ones", () => {
  const thumbnails = { imageIds: small.imageIds, jpegs: [new Uint8Array([1, 2, 3]), new Uint8Array(0), new Uint8Array([4])] };
  const bytes = encodeThumbnails(thumbnails);
  assert.deepEqual(decodeThumbnails(bytes), thumbnails);
  assert.equal(Buffer.compare(bytes, encodeThumbnails(thumbnails)), 0);
  assert.throws(() => decodeThumbnails(encodeShard(small)), fails("OBJECT_CORRUPT", /found feature-shard/));
});
