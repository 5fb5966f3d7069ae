import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "vitest";
import { memoryObjectStore } from "../object-store/memory.js";
import type { ObjectStore } from "../object-store/object-store.js";
import { type IdentityRow, IdentityStore } from "./identity-store.js";

const folder = "/data/flowers/roses";
const idOf = (name: string): string => createHash("sha256").update(name).digest("hex");
const image = (path: string, state: string, content = path): IdentityRow => ({ kind: "image", path, state, imageId: idOf(content) });
const rejected = (path: string, decoder: string): IdentityRow => ({
  kind: "rejected",
  path,
  state: "s",
  decoder,
  reason: "found a TIFF file",
});

async function keysOf(objects: ObjectStore): Promise<string[]> {
  const keys = [];
  for await (const key of objects.list("identities/")) keys.push(key);
  return keys;
}

function setup(): { objects: ObjectStore; reopen: () => IdentityStore } {
  const objects = memoryObjectStore();
  return { objects, reopen: () => new IdentityStore(objects) };
}

describe("identity store", () => {
  test("remembers pictures by path and state", async () => {
    const { objects, reopen } = setup();
    await reopen().append(folder, [image("a\n<b>.jpg", "s1"), image("e\u0301.jpg", "s1")]);
    const known = await reopen().load(folder, "d1");
    assert.equal(known.size, 2);
    assert.deepEqual(known.find("a\n<b>.jpg", "s1"), { kind: "image", state: "s1", imageId: idOf("a\n<b>.jpg") });
    assert.equal(known.find("a\n<b>.jpg", "s2"), undefined);
    assert.equal(known.find("\u00e9.jpg", "s1"), undefined);
    assert.equal((await reopen().load("/data/flowers", "d1")).size, 0);
    const [key = ""] = await keysOf(objects);
    const content = (await objects.read(key)) ?? new Uint8Array();
    assert.equal(key, `identities/${idOf(folder)}/${createHash("sha256").update(content).digest("hex")}.json`);
  });

  test("a rejection holds for its decoder only", async () => {
    const { reopen } = setup();
    await reopen().append(folder, [rejected("a.tif", "sharp 1")]);
    assert.deepEqual((await reopen().load(folder, "sharp 1")).find("a.tif", "s"), {
      kind: "rejected",
      state: "s",
      decoder: "sharp 1",
      reason: "found a TIFF file",
    });
    assert.equal((await reopen().load(folder, "sharp 2")).find("a.tif", "s"), undefined);
  });

  test("what was learned later wins, whatever the names of the objects", async () => {
    for (let content = 0; content < 8; content++) {
      const { reopen } = setup();
      await reopen().append(folder, [image("a.jpg", "old")]);
      const second = reopen();
      await second.load(folder, "d");
      await second.append(folder, [image("a.jpg", "new", `new ${content}`)]);
      await second.append(folder, [image("a.jpg", "newest", `newest ${content}`)]);
      const known = await reopen().load(folder, "d");
      assert.equal(known.find("a.jpg", "old"), undefined);
      assert.equal(known.find("a.jpg", "new"), undefined);
      assert.ok(known.find("a.jpg", "newest"));
    }
  });

  test("corrupt and foreign objects are passed over, and the rest is known", async () => {
    const { objects, reopen } = setup();
    await reopen().append(folder, [image("a.jpg", "s")]);
    await reopen().append(folder, [image("b.jpg", "s")]);
    const [first = "", second = ""] = await keysOf(objects);
    const content = (await objects.read(first)) ?? new Uint8Array();
    await objects.put(first, content.subarray(0, content.length - 5));
    const newer = Buffer.from(JSON.stringify({ formatVersion: 2, directory: folder, everything: "else" }));
    await objects.create(`${second.slice(0, second.lastIndexOf("/"))}/${createHash("sha256").update(newer).digest("hex")}.json`, newer);
    assert.equal((await reopen().load(folder, "d")).size, 1);
  });

  test("the same rows again make no second object, and no rows make none", async () => {
    const { objects, reopen } = setup();
    for (let time = 0; time < 3; time++) await reopen().append(folder, [image("a.jpg", "s")]);
    await reopen().append(folder, []);
    assert.equal((await keysOf(objects)).length, 1);
  });
});
