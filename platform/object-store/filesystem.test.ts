import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { exerciseObjectStore } from "../../test/conformance/object-store.js";
import { filesystemObjectStore } from "./filesystem.js";

const folders: string[] = [];

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "graft-store-"));
  folders.push(folder);
  return folder;
}

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

exerciseObjectStore("filesystem", async () => {
  const folder = join(await freshFolder(), "below", "store");
  return { store: filesystemObjectStore(folder), connect: () => filesystemObjectStore(folder) };
});

test("reading makes nothing on disk; the first write records the format", async () => {
  const folder = join(await freshFolder(), "store");
  const store = filesystemObjectStore(folder);
  assert.equal(await store.read("a"), undefined);
  for await (const key of store.list("")) assert.fail(key);
  assert.equal(existsSync(folder), false);
  await store.create("a", new Uint8Array(1));
  assert.equal(Buffer.from((await store.read("graft-store.json")) ?? []).toString(), '{"formatVersion":1}');
});

test("a store of a newer format is refused by every operation and left as it is", async () => {
  const folder = await freshFolder();
  await writeFile(join(folder, "graft-store.json"), '{"formatVersion":2}');
  const store = filesystemObjectStore(folder);
  const newer = (error: unknown) =>
    error instanceof CodedError && error.code === "STORE_FORMAT_NEWER" && error.message.includes("format 2");
  await assert.rejects(store.create("a", new Uint8Array(1)), newer);
  await assert.rejects(store.put("a", new Uint8Array(1)), newer);
  await assert.rejects(store.read("a"), newer);
  await assert.rejects(async () => store.list("")[Symbol.asyncIterator]().next(), newer);
  assert.deepEqual(await readdir(folder), ["graft-store.json"]);
  await writeFile(join(folder, "graft-store.json"), "not json");
  await assert.rejects(store.read("a"), (error: unknown) => error instanceof CodedError && error.code === "OBJECT_CORRUPT");
});

test("old temporary files are swept at the first write, those of living writers stay", async () => {
  const folder = await freshFolder();
  await mkdir(join(folder, ".tmp"));
  await writeFile(join(folder, ".tmp", "left-over"), "x");
  await writeFile(join(folder, ".tmp", "being-written"), "x");
  const threeHoursAgo = new Date(Date.now() - 3 * 3_600_000);
  await utimes(join(folder, ".tmp", "left-over"), threeHoursAgo, threeHoursAgo);
  await filesystemObjectStore(folder).create("a", new Uint8Array(1));
  assert.deepEqual(await readdir(join(folder, ".tmp")), ["being-written"]);
});

test("no temporary file stays behind, whoever won", async () => {
  const folder = await freshFolder();
  await Promise.all(Array.from({ length: 8 }, (_, index) => filesystemObjectStore(folder).create("a", new Uint8Array([index]))));
  await filesystemObjectStore(folder).put("a", new Uint8Array(1));
  assert.deepEqual(await readdir(join(folder, ".tmp")), []);
});

test("a store whose folder is a file says so", async () => {
  const path = join(await freshFolder(), "file");
  await writeFile(path, "x");
  await assert.rejects(filesystemObjectStore(path).create("a/b", new Uint8Array(1)), (error: unknown) => {
    assert.ok(error instanceof CodedError && error.code === "STORE_UNAVAILABLE", String(error));
    assert.match(error.message, /a file stands where a folder is needed/);
    return true;
  });
});

test("a folder in the place of an object is refused, not taken for the object", async () => {
  const folder = await freshFolder();
  await mkdir(join(folder, "a", "b"), { recursive: true });
  await assert.rejects(filesystemObjectStore(folder).create("a/b", new Uint8Array(1)), (error: unknown) => {
    assert.ok(error instanceof CodedError && error.code === "STORE_UNAVAILABLE", String(error));
    assert.match(error.message, /a folder where an object is needed/);
    return true;
  });
});

test("a store behind a symbolic link is a store", async () => {
  const folder = await freshFolder();
  await mkdir(join(folder, "real"));
  await symlink("real", join(folder, "link"));
  await filesystemObjectStore(join(folder, "link")).create("a/b", new Uint8Array([3]));
  assert.deepEqual([...((await filesystemObjectStore(join(folder, "real")).read("a/b")) ?? [])], [3]);
});

test("a folder that vanished makes one write fail with a code that is tried again, and then work", async () => {
  const folder = join(await freshFolder(), "store");
  const store = filesystemObjectStore(folder);
  await store.create("a/b", new Uint8Array(1));
  await rm(folder, { recursive: true });
  await assert.rejects(
    store.create("a/c", new Uint8Array(1)),
    (error: unknown) => error instanceof CodedError && error.code === "STORE_UNAVAILABLE",
  );
  assert.equal(await store.create("a/c", new Uint8Array(1)), "created");
});

test("a folder without permission is STORE_UNAVAILABLE with the remedy", async (context) => {
  const folder = await freshFolder();
  const store = filesystemObjectStore(folder);
  await store.create("features/a", new Uint8Array(1));
  await chmod(join(folder, "features"), 0o000);
  const isRoot = process.getuid?.() === 0;
  if (isRoot && process.seteuid === undefined) return context.skip("cannot become another user here");
  await chmod(folder, 0o555);
  const refused = (error: unknown) => {
    assert.ok(error instanceof CodedError && error.code === "STORE_UNAVAILABLE", String(error));
    assert.match(error.message, /EACCES; give this user read and write permission/);
    return true;
  };
  if (isRoot) process.seteuid?.(65534);
  try {
    await assert.rejects(store.create("b", new Uint8Array(1)), refused);
    await assert.rejects(store.read("features/a"), refused);
    await assert.rejects(async () => store.list("features/")[Symbol.asyncIterator]().next(), refused);
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
  await chmod(join(folder, "features"), 0o700);
  assert.equal((await store.read("features/a"))?.length, 1);
});
