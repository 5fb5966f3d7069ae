import type { Clock } from "../clock/clock.js";
import { assertObjectKey, assertObjectPrefix } from "./object-key.js";
import type { ObjectStore } from "./object-store.js";

/** Objects in this process' memory: for tests and simulations. Without a clock everything was written at time 0. */
export function memoryObjectStore(clock: Pick<Clock, "now"> = { now: () => 0 }): ObjectStore {
  const objects = new Map<string, { readonly body: Uint8Array; readonly modifiedMs: number }>();
  // Copies on the way in and out: an object never changes when a caller goes on using its buffer.
  const write = (key: string, body: Uint8Array): void => {
    objects.set(key, { body: body.slice(), modifiedMs: clock.now() });
  };
  return {
    location: "memory",
    async create(key, body) {
      assertObjectKey(key);
      if (objects.has(key)) return "exists";
      write(key, body);
      return "created";
    },
    async put(key, body) {
      assertObjectKey(key);
      write(key, body);
    },
    async read(key) {
      assertObjectKey(key);
      return objects.get(key)?.body.slice();
    },
    async readRange(key, from, to) {
      assertObjectKey(key);
      return objects.get(key)?.body.slice(from, to);
    },
    async stat(key) {
      assertObjectKey(key);
      const object = objects.get(key);
      return object && { bytes: object.body.byteLength, modifiedMs: object.modifiedMs };
    },
    async *list(prefix) {
      assertObjectPrefix(prefix);
      // Keys are ASCII, so the order of UTF-16 units is the order of bytes.
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
      for (const key of keys) if (objects.has(key)) yield key;
    },
    async delete(key) {
      assertObjectKey(key);
      objects.delete(key);
    },
  };
}
