import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { checkBackbones, checkEngine, checkNode, checkPictures, checkStore } from "./checks.js";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "graft-doctor-"));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

test("on a machine that runs the tests nothing is missing", async () => {
  for (const check of [checkNode, checkEngine, checkPictures, checkBackbones]) expect((await check()).remedy).toBeUndefined();
});

test("a store that is not there yet is tried beside its place, and nothing is left of the trial", async () => {
  const parent = folder();
  const { detail, remedy } = await checkStore(join(parent, "a", "store"));
  expect(remedy).toBeUndefined();
  expect(detail).toMatch(/made by the first job/);
  expect(existsSync(join(parent, "a"))).toBe(false);
  expect(readdirSync(parent)).toEqual([]);
});

test("nothing is left in a folder that is there", async () => {
  const store = folder();
  expect((await checkStore(store)).remedy).toBeUndefined();
  expect(readdirSync(store)).toEqual([]);
});

test("a store of a newer graft is a problem", async () => {
  const store = folder();
  writeFileSync(join(store, "graft-store.json"), '{"formatVersion":99}');
  await expect(checkStore(store)).rejects.toMatchObject({ code: "STORE_FORMAT_NEWER" });
});

test("a store in the place of a file is a problem", async () => {
  const file = join(folder(), "file");
  writeFileSync(file, "");
  await expect(checkStore(file)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
});
