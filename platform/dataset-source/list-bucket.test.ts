import assert from "node:assert/strict";
import { test } from "vitest";
import { compareUtf8 } from "../../domain/dataset/utf8-order.js";
import type { Bucket, BucketPage } from "../bucket/bucket.js";
import { listInParallel } from "./list-bucket.js";

interface Listing {
  readonly bucket: Pick<Bucket, "list">;
  readonly requests: () => number;
  readonly inFlightMost: () => number;
}

/** Lists as S3 does, `pageKeys` names a page. */
function listing(keys: readonly string[], pageKeys: number): Listing {
  const sorted = [...keys].sort(compareUtf8);
  let requests = 0;
  let inFlight = 0;
  let most = 0;
  return {
    requests: () => requests,
    inFlightMost: () => most,
    bucket: {
      async list({ prefix, after, next, byFolder }) {
        requests++;
        most = Math.max(most, ++inFlight);
        await new Promise((resolve) => setImmediate(resolve));
        inFlight--;
        // A token says whether a key or a folder was the last one.
        const from = next?.slice(1) ?? after ?? "";
        const objects: BucketPage["objects"][number][] = [];
        const prefixes: string[] = [];
        let last = "";
        for (const key of sorted) {
          if (!key.startsWith(prefix) || compareUtf8(key, from) <= 0 || (next?.startsWith("F") === true && key.startsWith(from))) continue;
          const slash = byFolder === true ? key.indexOf("/", prefix.length) : -1;
          const folder = slash < 0 ? undefined : key.slice(0, slash + 1);
          if (folder !== undefined && prefixes.at(-1) === folder) continue;
          if (objects.length + prefixes.length === pageKeys) return { objects, prefixes, next: last };
          if (folder === undefined) objects.push({ key, bytes: 1, etag: key, modifiedMs: 0 });
          else prefixes.push(folder);
          last = folder === undefined ? `K${key}` : `F${folder}`;
        }
        return { objects, prefixes, next: undefined };
      },
    },
  };
}

async function list(bucket: Pick<Bucket, "list">, prefix: string): Promise<string[]> {
  const keys = [];
  for await (const { key } of listInParallel(bucket, prefix)) keys.push(key);
  return keys;
}

const numbered = (count: number, name: (index: number) => string): string[] => Array.from({ length: count }, (_, index) => name(index));

const layouts: Readonly<Record<string, readonly string[]>> = {
  nothing: [],
  "one file": ["p/a"],
  "classes with files between": [
    ...numbered(300, (index) => `p/${"abcde"[index % 5]}/${index}`),
    ..."abcde".split("").flatMap((name) => [`p/${name}.txt`, `p/${name}-x/1`, `p/${name}0`, `p/${name}.b/2`]),
    "q/outside",
    "p0",
  ],
  "splits of classes": numbered(400, (index) => `p/${["test", "train", "validation"][index % 3]}/class ${index % 20}/${index}.jpg`),
  "two flat classes": numbered(300, (index) => `p/${index % 2}/${index}`),
  "files only": numbered(200, (index) => `p/${index}.jpg`),
  "files, then a few folders": [...numbered(100, (index) => `p/${index}.jpg`), "p/x/1", "p/x/2", "p/y/1", "p/z"],
  "many folders of one file": numbered(900, (index) => `p/${index}/x.jpg`),
  "folders that are objects too": ["p/a/", "p/a/1", "p/b/", "p/c/", "p/c/1", "p/d"],
  "odd names": [
    "p/\u{1f33c}/1",
    "p/\uff5e/1",
    "p/é/1",
    "p/e\u0301/1",
    "p/two words/x y",
    "p/a.\u{10ffff}/1",
    "p/a/1",
    "p/a.b/1",
    "p/<x>/1",
    "p/%41/1",
  ],
};

for (const [name, keys] of Object.entries(layouts)) {
  for (const pageKeys of [1, 3, 12, 1_000]) {
    test(`${name}: every key once, in the order of bytes, pages of ${pageKeys}`, async () => {
      const expected = keys.filter((key) => key.startsWith("p/")).sort(compareUtf8);
      assert.deepEqual(await list(listing(keys, pageKeys).bucket, "p/"), expected);
    });
  }
}

test("several folders are listed at the same time, small ones together", async () => {
  const large = listing(
    numbered(20_000, (index) => `p/${index % 20}/${index}`),
    1_000,
  );
  assert.equal((await list(large.bucket, "p/")).length, 20_000);
  assert.ok(large.inFlightMost() >= 6, `${large.inFlightMost()} at the same time`);
  const small = listing(
    numbered(20_000, (index) => `p/${index}/x`),
    1_000,
  );
  assert.equal((await list(small.bucket, "p/")).length, 20_000);
  assert.ok(small.requests() < 200, `${small.requests()} requests`);
});

test("a failure reaches who lists, and one who stops early leaves nothing running", async () => {
  const { bucket } = listing(
    numbered(5_000, (index) => `p/${index % 50}/${index}`),
    100,
  );
  let calls = 0;
  const failing: Pick<Bucket, "list"> = {
    list: (request) => (++calls === 9 ? Promise.reject(new Error("gone")) : bucket.list(request)),
  };
  await assert.rejects(list(failing, "p/"), /gone/);
  for await (const { key } of listInParallel(bucket, "p/")) if (key.endsWith("00")) break;
});
