import assert from "node:assert/strict";
import { test } from "vitest";
import { exerciseObjectStore } from "../../test/conformance/object-store.js";
import { memoryObjectStore } from "./memory.js";

exerciseObjectStore("memory", async () => {
  const store = memoryObjectStore();
  return { store, connect: () => store };
});

test("an object was written when the clock says", async () => {
  let now = 5;
  const store = memoryObjectStore({ now: () => now });
  await store.create("a", new Uint8Array(1));
  now = 9;
  await store.put("b", new Uint8Array(2));
  assert.deepEqual(await store.stat("a"), { bytes: 1, modifiedMs: 5 });
  assert.deepEqual(await store.stat("b"), { bytes: 2, modifiedMs: 9 });
});
