import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { exerciseObjectStore } from "../../test/conformance/object-store.js";
import { memoryObjectStore } from "./memory.js";
import type { ObjectStore } from "./object-store.js";
import { retryingObjectStore } from "./retrying.js";

const policy = { attemptsMax: 50, firstDelayMs: 1, totalMsMax: Infinity };
const deps = { clock: { now: () => 0, monotonic: () => 0, sleep: async () => undefined }, random: () => 0 };

/** Every second call fails; a listing fails once at every key. */
function flaky(store: ObjectStore): ObjectStore {
  let calls = 0;
  const listed = new Set<string>();
  const fail = (): void => {
    if (calls++ % 2 === 0) throw new CodedError("STORE_UNAVAILABLE", "in passing");
  };
  const once = async <T>(operation: () => Promise<T>): Promise<T> => {
    fail();
    return operation();
  };
  return {
    location: store.location,
    create: (key, body) => once(() => store.create(key, body)),
    put: (key, body) => once(() => store.put(key, body)),
    read: (key) => once(() => store.read(key)),
    readRange: (key, from, to) => once(() => store.readRange(key, from, to)),
    stat: (key) => once(() => store.stat(key)),
    async *list(prefix) {
      for await (const key of store.list(prefix)) {
        if (!listed.has(key)) {
          listed.add(key);
          throw new CodedError("STORE_UNAVAILABLE", "in passing");
        }
        yield key;
      }
    },
    delete: (key) => once(() => store.delete(key)),
  };
}

exerciseObjectStore("retrying over a flaky store", async () => {
  const memory = memoryObjectStore();
  const connect = (): ObjectStore => retryingObjectStore(flaky(memory), policy, deps);
  return { store: connect(), connect };
});

test("a store that stays away is given up", async () => {
  const gone = { ...memoryObjectStore(), read: () => Promise.reject(new CodedError("STORE_UNAVAILABLE", "away")) };
  await expect(retryingObjectStore(gone, policy, deps).read("a/b")).rejects.toThrow("away");
});
