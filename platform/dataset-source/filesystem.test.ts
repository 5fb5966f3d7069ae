import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "vitest";
import { type ErrorCode, CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { ListedFile } from "./dataset-source.js";
import { FilesystemDatasetSource, openFilesystemDataset } from "./filesystem.js";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "graft-source-"));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function write(...paths: string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `content of ${path}`);
  }
}

async function list(folder = root): Promise<ListedFile[]> {
  const files: ListedFile[] = [];
  for await (const file of new FilesystemDatasetSource(folder).list()) files.push(file);
  return files;
}

const paths = async (): Promise<string[]> => (await list()).map(({ path }) => path);

async function refusal(code: ErrorCode, operation: () => Promise<unknown>): Promise<string> {
  try {
    await operation();
  } catch (error) {
    assert.ok(error instanceof CodedError, String(error));
    assert.equal(error.code, code, error.message);
    return error.message;
  }
  assert.fail("nothing was refused");
}

describe("listing", () => {
  test("files come in the order of their paths' UTF-8 bytes, with empty folders", async () => {
    const names = [
      "a.b/1",
      "a/1",
      "a/b/2",
      "a/b.c",
      "a0",
      "B/1",
      "é/1",
      "e\u0301/1",
      "two words/x y",
      "line\nbreak/1",
      "<script>/1",
      "\u{1f33c}",
      "\uff5e",
    ];
    write(...names);
    mkdirSync(join(root, "empty/inner"), { recursive: true });
    assert.deepEqual(
      await paths(),
      [...names, "empty/inner/"].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    );
  });

  test("a state tells a changed file, even of the same size and time of change", async () => {
    write("a/1");
    const [before] = await list();
    assert.equal(before?.bytes, "content of a/1".length);
    writeFileSync(join(root, "a/1"), "CONTENT OF A/1");
    utimesSync(join(root, "a/1"), 1, 1);
    const [after] = await list();
    assert.equal(after?.bytes, before.bytes);
    assert.notEqual(after.state, before.state);
    assert.deepEqual(await list(), [after]);
  });

  test("links are followed, and those that lead back end", async () => {
    write("all/1", "all/2");
    symlinkSync("all", join(root, "copy"));
    symlinkSync("..", join(root, "all/up"));
    symlinkSync(join(root, "all/1"), join(root, "one"));
    assert.deepEqual(await paths(), ["all/1", "all/2", "copy/1", "copy/2", "one"]);
  });

  test("a knot of links is refused before it has been walked", async () => {
    for (let level = 0; level < 24; level++) {
      write(`${level}/1`);
      for (const name of ["x", "y"]) symlinkSync(`../${level + 1}`, join(root, `${level}/${name}`));
    }
    write("24/1");
    assert.match(await refusal("DATASET_INVALID", () => list()), /links lead to at most 32 times/);
  });

  test("a link to itself and a link to nothing are named", async () => {
    symlinkSync("self", join(root, "self"));
    assert.match(await refusal("DATASET_UNREADABLE", () => list()), /self: expected to read it, found links that lead in a circle/);
    rmSync(join(root, "self"));
    symlinkSync("nowhere", join(root, "dangling"));
    assert.match(await refusal("DATASET_CHANGED", () => list()), /dangling: .*found it gone, or a link to nothing/);
  });

  test.skipIf(process.platform === "win32")("pipes are no files", async () => {
    write("a/1");
    execFileSync("mkfifo", [join(root, "a/pipe")]);
    assert.deepEqual(await paths(), ["a/1"]);
  });

  test("a name that is not UTF-8 is named", async () => {
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x2e])]), "x");
    assert.match(await refusal("DATASET_UNREADABLE", () => list()), /its name may not be UTF-8; rename it/);
  });

  test("depth costs no call stack", async () => {
    let folder = root;
    for (let level = 0; level < 300; level++) folder = join(folder, "d");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "1"), "x");
    assert.equal((await paths()).length, 1);
  });
});

describe("reading", () => {
  test("gives the bytes of what was listed", async () => {
    write("a/1");
    const [file] = await list();
    assert.ok(file);
    assert.equal(Buffer.from(await new FilesystemDatasetSource(root).read(file)).toString(), "content of a/1");
  });

  test("a file that changed since is refused", async () => {
    write("a/1");
    const [file] = await list();
    assert.ok(file);
    const source = new FilesystemDatasetSource(root);
    for (const change of [
      () => writeFileSync(join(root, "a/1"), "content of a/2"),
      () => writeFileSync(join(root, "a/1"), "longer than it was"),
      () => writeFileSync(join(root, "a/1"), ""),
    ]) {
      change();
      assert.match(await refusal("DATASET_CHANGED", () => source.read(file)), /a\/1: expected the file as it was listed/);
    }
    rmSync(join(root, "a/1"));
    assert.match(await refusal("DATASET_CHANGED", () => source.read(file)), /found it gone/);
  });

  test("a file over the limit is not read", async () => {
    const huge = { path: "not even there", bytes: limits.imageBytes + 1, state: "" };
    assert.match(await refusal("DATASET_INVALID", () => new FilesystemDatasetSource(root).read(huge)), /expected a file of at most/);
  });
});

describe("opening", () => {
  test("a folder, or a manifest with its folder", async () => {
    write("sub/m.csv", "sub/notes.txt");
    const folder = await openFilesystemDataset(join(root, "sub"));
    assert.deepEqual([folder.source.location, folder.manifest], [join(root, "sub"), undefined]);
    const manifest = await openFilesystemDataset(join(root, "sub/m.csv"));
    assert.equal(manifest.source.location, join(root, "sub"));
    assert.deepEqual([manifest.manifest?.name, Buffer.from(manifest.manifest?.bytes ?? []).toString()], ["m.csv", "content of sub/m.csv"]);
  });

  test("what is not there, and what is neither, is refused", async () => {
    write("notes.txt");
    assert.match(
      await refusal("DATASET_NOT_FOUND", () => openFilesystemDataset(join(root, "none"))),
      /none: expected a folder of pictures or a manifest/,
    );
    assert.match(await refusal("DATASET_NOT_FOUND", () => openFilesystemDataset(join(root, "notes.txt/x"))), /found nothing there/);
    assert.match(await refusal("DATASET_INVALID", () => openFilesystemDataset(join(root, "notes.txt"))), /found another file/);
  });
});

/** Root may read everything, so as root the test lists as `nobody`. */
test.skipIf(process.platform === "win32")("a folder or file without permission is named", async () => {
  write("a/1", "shut/1");
  const [file] = await list();
  assert.ok(file);
  chmodSync(root, 0o755);
  chmodSync(join(root, "shut"), 0o000);
  chmodSync(join(root, "a/1"), 0o000);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    assert.match(await refusal("DATASET_UNREADABLE", () => list()), /shut\/?: expected to read it, found no permission; make it readable/);
    assert.match(
      await refusal("DATASET_UNREADABLE", () => new FilesystemDatasetSource(root).read(file)),
      /a\/1: expected to read it, found no permission/,
    );
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(join(root, "shut"), 0o755);
  }
});
