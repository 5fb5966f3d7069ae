import assert from "node:assert/strict";
import { test } from "vitest";
import type { ObjectStore } from "../../platform/object-store/object-store.js";

/**
 * What every adapter of the object store promises. `open` gives a fresh, empty store and further connections to that same store (another process' view of it).
 */
export function exerciseObjectStore(adapter: string, open: () => Promise<{ store: ObjectStore; connect: () => ObjectStore }>): void {
  test(`${adapter}: create never overwrites`, async () => {
    const { store } = await open();
    assert.equal(await store.create("shards/0", text("first")), "created");
    assert.equal(await store.create("shards/0", text("second")), "exists");
    assert.deepEqual(await bodyAt(store, "shards/0"), "first");
  });

  test(`${adapter}: of 20 racing creators exactly one wins, and what it wrote stays`, async () => {
    const { store, connect } = await open();
    const connections = Array.from({ length: 20 }, () => connect());
    for (let round = 0; round < 5; round++) {
      const key = `race/${round}`;
      // Bodies of different lengths, so that a mixture would show.
      const outcomes = await Promise.all(
        connections.map((each, index) => each.create(key, new Uint8Array(1_000 + index * 5_000).fill(index))),
      );
      assert.equal(outcomes.filter((outcome) => outcome === "created").length, 1, `round ${round}: ${outcomes.join(" ")}`);
      const winner = outcomes.indexOf("created");
      assert.deepEqual(await store.read(key), new Uint8Array(1_000 + winner * 5_000).fill(winner));
    }
    assert.deepEqual(await keysUnder(store, "race/"), ["race/0", "race/1", "race/2", "race/3", "race/4"]);
  });

  test(`${adapter}: a finished write is seen at once by every connection`, async () => {
    const { store, connect } = await open();
    const other = connect();
    for (let round = 0; round < 30; round++) {
      assert.equal(await other.read(`fresh/${round}`), undefined);
      await store.create(`fresh/${round}`, text(`${round}`));
      assert.equal(await bodyAt(other, `fresh/${round}`), `${round}`);
      await store.put("status", text(`${round}`));
      assert.equal(await bodyAt(other, "status"), `${round}`);
      assert.equal((await keysUnder(other, "fresh/")).length, round + 1);
    }
    await store.delete("status");
    assert.equal(await other.read("status"), undefined);
  });

  test(`${adapter}: a reader of an object that is put again and again sees one whole body`, async () => {
    const { store, connect } = await open();
    const other = connect();
    const bodies = [new Uint8Array(300_000).fill(1), new Uint8Array(200_000).fill(2)] as const;
    await store.put("status", bodies[0]);
    let writing = true;
    const reader = (async () => {
      let reads = 0;
      while (writing) {
        const found = await other.read("status");
        assert.ok(found !== undefined);
        const expected = found[0] === 1 ? bodies[0] : bodies[1];
        assert.equal(Buffer.compare(found, expected), 0, `${found.length} bytes that begin with ${found[0]}`);
        reads++;
      }
      return reads;
    })();
    for (let round = 0; round < 40; round++) await store.put("status", bodies[round % 2 === 0 ? 0 : 1]);
    writing = false;
    assert.ok((await reader) > 0);
  });

  test(`${adapter}: list gives all keys with a prefix in the order of their bytes`, async () => {
    const { store } = await open();
    // "-" and "." sort before "/", digits and letters after it.
    const keys = ["a/x", "a-b/x", "a.b", "a0", "aB", "ab/c/d", "ab/c.d", "ab/c0", "b/10", "b/9", "b/_", "B"];
    for (const key of keys) await store.create(key, text(key));
    const sorted = [...keys].sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
    assert.deepEqual(
      (await keysUnder(store, "")).filter((key) => key !== "graft-store.json"),
      sorted,
    );
    for (const prefix of ["a", "a/", "ab/c", "ab/c/", "b/1", "nothing", "nothing/", "a/x/"]) {
      assert.deepEqual(
        await keysUnder(store, prefix),
        sorted.filter((key) => key.startsWith(prefix)),
        `prefix ${prefix}`,
      );
    }
  });

  test(`${adapter}: an empty body and one of 40 MB come back whole`, async () => {
    const { store } = await open();
    const large = new Uint8Array(40_000_000);
    for (let index = 0; index < large.length; index += 4_093) large[index] = index % 251;
    await store.create("bodies/empty", new Uint8Array(0));
    await store.create("bodies/large", large);
    assert.deepEqual(await store.read("bodies/empty"), new Uint8Array(0));
    const found = await store.read("bodies/large");
    assert.ok(found !== undefined && Buffer.compare(found, large) === 0);
    assert.equal((await store.stat("bodies/empty"))?.bytes, 0);
    assert.equal((await store.stat("bodies/large"))?.bytes, 40_000_000);
  });

  test(`${adapter}: a range is what stands there, cut at the end of the object`, async () => {
    const { store } = await open();
    await store.create("a/range", text("0123456789"));
    const range = async (from: number, to: number): Promise<string | undefined> => {
      const body = await store.readRange("a/range", from, to);
      return body && Buffer.from(body).toString();
    };
    assert.equal(await range(0, 4), "0123");
    assert.equal(await range(4, 7), "456");
    assert.equal(await range(7, 100), "789");
    assert.equal(await range(3, 3), "");
    assert.equal(await range(10, 20), "");
    assert.equal(await store.readRange("a/none", 0, 4), undefined);
    assert.equal(await store.readRange("a", 0, 4), undefined);
  });

  test(`${adapter}: an object does not share memory with its writer or readers`, async () => {
    const { store } = await open();
    // A view in the middle of a larger buffer: only its own bytes count.
    const pool = new Uint8Array([9, 1, 2, 3, 9]);
    const body = pool.subarray(1, 4);
    await store.create("a", body);
    body.fill(7);
    const read = await store.read("a");
    assert.deepEqual(read && [...read], [1, 2, 3]);
    read?.fill(8);
    assert.deepEqual([...((await store.read("a")) ?? [])], [1, 2, 3]);
  });

  test(`${adapter}: a missing key is undefined, and deleting it is nothing`, async () => {
    const { store } = await open();
    assert.equal(await store.read("no/such"), undefined);
    assert.equal(await store.stat("no/such"), undefined);
    await store.delete("no/such");
    await store.create("a/b", text("x"));
    assert.equal(await store.read("a"), undefined);
    assert.equal(await store.stat("a"), undefined);
    assert.equal(await store.read("a/b/c"), undefined);
    await store.delete("a/b");
    assert.equal(await store.read("a/b"), undefined);
    assert.equal(await store.create("a/b", text("y")), "created");
    assert.equal(await bodyAt(store, "a/b"), "y");
  });

  test(`${adapter}: odd keys are stored, keys that could leave the store are refused`, async () => {
    const { store } = await open();
    const odd = ["-", "_/a..", "a..b/c", "UPPER-lower_0.9", `${"n".repeat(200)}/${"m".repeat(200)}`, "x.tmp", "0"];
    for (const key of odd) {
      assert.equal(await store.create(key, text(key)), "created", key);
      assert.equal(await bodyAt(store, key), key);
    }
    const refused = [
      "",
      "/",
      "/a",
      "a/",
      "a//b",
      "..",
      "../a",
      "a/../../b",
      "a/./b",
      ".hidden",
      "a/.hidden",
      "a b",
      "ä",
      "a\0",
      "a\\b",
      "a\n",
      "n".repeat(201),
      "n/".repeat(300) + "n",
    ];
    for (const key of refused) {
      await assert.rejects(async () => store.create(key, text("x")), assert.AssertionError, JSON.stringify(key));
      await assert.rejects(async () => store.put(key, text("x")), assert.AssertionError, JSON.stringify(key));
      await assert.rejects(async () => store.read(key), assert.AssertionError, JSON.stringify(key));
      await assert.rejects(async () => store.delete(key), assert.AssertionError, JSON.stringify(key));
    }
    await assert.rejects(async () => keysUnder(store, "../"), assert.AssertionError);
  });
}

function text(value: string): Uint8Array {
  return Buffer.from(value);
}

async function bodyAt(store: ObjectStore, key: string): Promise<string | undefined> {
  const body = await store.read(key);
  return body && Buffer.from(body).toString();
}

async function keysUnder(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list(prefix)) keys.push(key);
  return keys;
}
