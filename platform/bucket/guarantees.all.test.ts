import assert from "node:assert/strict";
import { afterAll, beforeAll, describe, test } from "vitest";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { type MinioServer, startMinio } from "../../test/support/minio.js";
import type { Bucket } from "./bucket.js";
import { tryGuarantees } from "./guarantees.js";
import { connectBucket } from "./minio.js";

const isThere = goProgram("minio") !== undefined;
let minio: MinioServer;
let bucket: Bucket;

beforeAll(async () => {
  const started = await startMinio();
  if (started === undefined) return;
  minio = started;
  await minio.makeBucket("store");
  bucket = connectBucket(minio.access, "store");
});
afterAll(async () => minio?.stop());

async function broken(change: Partial<Bucket>): Promise<string[]> {
  const methods: Bucket = {
    name: bucket.name,
    endpoint: bucket.endpoint,
    put: bucket.put.bind(bucket),
    get: bucket.get.bind(bucket),
    getIfMatch: bucket.getIfMatch.bind(bucket),
    getRange: bucket.getRange.bind(bucket),
    head: bucket.head.bind(bucket),
    list: bucket.list.bind(bucket),
    delete: bucket.delete.bind(bucket),
    urlOf: bucket.urlOf.bind(bucket),
    clockAheadMs: bucket.clockAheadMs.bind(bucket),
  };
  return (await tryGuarantees({ ...methods, ...change }, "doctor")).filter(({ holds }) => !holds).map(({ name }) => name);
}

describe.skipIf(!isThere)(`what graft needs of a store${isThere ? "" : `: ${withoutProgram("minio")}`}`, () => {
  test("MinIO keeps all of it, and nothing is left behind", async () => {
    const found = await tryGuarantees(bucket, "doctor");
    assert.deepEqual(
      found.filter(({ holds }) => !holds),
      [],
    );
    assert.deepEqual(
      found.map(({ name }) => name),
      ["create if absent", "read after write", "list after write", "overwrite", "ranged read", "metadata", "delete", "clock"],
    );
    assert.deepEqual((await bucket.list({ prefix: "" })).objects, []);
  });

  test("what a store does not keep is found", async () => {
    assert.deepEqual(await broken({ put: (key, body) => bucket.put(key, body, false) }), ["create if absent"]);
    assert.deepEqual(await broken({ getRange: async (key) => (await bucket.get(key))?.body }), ["ranged read"]);
    assert.deepEqual(
      await broken({
        head: async (key) => {
          const found = await bucket.head(key);
          return found && { ...found, sha256: undefined };
        },
      }),
      ["metadata"],
    );
    assert.deepEqual(await broken({ list: async () => ({ objects: [], prefixes: [], next: undefined }) }), ["list after write"]);
    assert.deepEqual(await broken({ clockAheadMs: () => -120_000 }), ["clock"]);
    assert.deepEqual(await broken({ delete: async () => undefined }), ["delete"]);
  });
});
