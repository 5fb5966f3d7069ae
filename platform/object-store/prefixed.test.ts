import { expect, test } from "vitest";
import { exerciseObjectStore } from "../../test/conformance/object-store.js";
import { memoryObjectStore } from "./memory.js";
import { prefixedObjectStore } from "./prefixed.js";

exerciseObjectStore("prefixed", async () => {
  const whole = memoryObjectStore();
  // Neighbours that no listing may show.
  for (const key of ["a", "domains/a-b/x", "domains/b/a/x"]) await whole.create(key, new Uint8Array(1));
  const connect = (): ReturnType<typeof memoryObjectStore> => prefixedObjectStore(whole, "domains/a/");
  return { store: connect(), connect };
});

test("objects lie below the prefix, and have their addresses there", async () => {
  const whole = { ...memoryObjectStore(), urlOf: async (key: string, seconds: number) => `https://store/${key}?for=${String(seconds)}` };
  const part = prefixedObjectStore(whole, "domains/a/");
  await part.create("features/0", new Uint8Array(3));
  expect((await whole.stat("domains/a/features/0"))?.bytes).toBe(3);
  expect(await part.urlOf?.("features/0", 60)).toBe("https://store/domains/a/features/0?for=60");
  expect(part.location).toBe("memory/domains/a");
  expect(prefixedObjectStore(memoryObjectStore(), "a/")).not.toHaveProperty("urlOf");
});
