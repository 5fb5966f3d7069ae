import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { CodedError } from "../errors.js";
import type { FileEntry, ListedPicture, ManifestTable } from "./listing.js";
import { type DatasetScan, scanDataset } from "./scan.js";
import { compareUtf8 } from "./utf8-order.js";

async function* entries(paths: readonly string[]): AsyncGenerator<FileEntry> {
  for (const path of [...paths].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
    yield { path, bytes: 10, state: `state of ${path}` };
}

async function scan(paths: readonly string[], manifest?: ManifestTable): Promise<{ pictures: ListedPicture[]; scan: DatasetScan }> {
  const running = scanDataset(entries(paths), "/data", manifest);
  const pictures: ListedPicture[] = [];
  for await (const picture of running) pictures.push(picture);
  return { pictures, scan: running };
}

async function refusal(paths: readonly string[], manifest?: ManifestTable): Promise<string> {
  try {
    await scan(paths, manifest);
  } catch (error) {
    assert.ok(error instanceof CodedError && error.code === "DATASET_INVALID", String(error));
    return error.message;
  }
  assert.fail("the scan was not refused");
}

describe("class folders", () => {
  test("labels are the first level, deeper folders belong to their class", async () => {
    const { pictures, scan: found } = await scan(["roses/a.jpg", "roses/2024/may/b.JPG", "tulips/c", "LICENSE.txt"]);
    assert.deepEqual(
      pictures.map(({ uri, label }) => [uri, label]),
      [
        ["roses/2024/may/b.JPG", "roses"],
        ["roses/a.jpg", "roses"],
        ["tulips/c", "tulips"],
      ],
    );
    assert.deepEqual(found.summary, {
      layout: "CLASS_FOLDERS",
      classes: ["roses", "tulips"],
      counts: [
        { label: "roses", pictures: 2, given: { train: 0, validation: 0, test: 0 } },
        { label: "tulips", pictures: 1, given: { train: 0, validation: 0, test: 0 } },
      ],
      pictures: 3,
      bytes: 30,
      givenSplits: [],
      ignored: { count: 1, first: [{ path: "LICENSE.txt", reason: "lies in no class folder and is no picture" }] },
    });
  });

  test("hidden files, litter and texts are ignored and counted; unknown and foreign kinds are tried", async () => {
    const kept = ["a/x.jpg", "b/y.svg", "b/z.bin"];
    const ignored = [
      ".git/objects/aa",
      "a/.DS_Store",
      "a/Thumbs.db",
      "b/notes.md",
      "b/.cache/p.jpg",
      "docs/read.md",
      "top.jpg",
      "__MACOSX/a/._x.jpg",
    ];
    const { pictures, scan: found } = await scan([...kept, ...ignored]);
    assert.deepEqual(
      pictures.map(({ uri }) => uri),
      kept,
    );
    assert.equal(found.summary.ignored.count, ignored.length);
    assert.deepEqual(
      found.summary.ignored.first.find(({ path }) => path === "top.jpg"),
      { path: "top.jpg", reason: "lies in no class folder" },
    );
  });

  test("only the first 20 ignored files are named", async () => {
    const { scan: found } = await scan(["a/x.jpg", "b/x.jpg", ...Array.from({ length: 30 }, (_, n) => `a/${n}.txt`)]);
    assert.equal(found.summary.ignored.count, 30);
    assert.equal(found.summary.ignored.first.length, 20);
  });

  test("names in any script, with spaces, line breaks and markup stay what they are; NFC and NFD are two classes", async () => {
    const names = ["\u00e9", "e\u0301", "猫 と 犬", "a\nb", "<script>alert(1)<", "..hidden?".slice(2), "\u{1f33c}", "\uff5e"];
    const { scan: found } = await scan(names.map((name) => `${name}/p.jpg`));
    const inBytes = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    assert.deepEqual(found.summary.classes, inBytes);
  });

  test.each([
    [[], /found nothing in it/],
    [["a.jpg", "b.jpg"], /found no picture in any class folder \("a.jpg" lies in no class folder/],
    [["roses/a.jpg"], /expected at least two classes, found only "roses"/],
    [["a/x.jpg", "b/x.jpg", "c/"], /found none in "c"/],
    [["a/x.jpg", "b/x.jpg", "c/.keep"], /found none in "c"/],
  ])("%j is refused", async (paths, message) => {
    assert.match(await refusal(paths), message);
  });
});

describe("given splits", () => {
  test("train, val and test hold classes", async () => {
    const folders = ["training", "Val", "test"].flatMap((split) => ["horses", "humans"].map((label) => `${split}/${label}/1.png`));
    const { pictures, scan: found } = await scan([...folders, "train/stray.jpg", "README.md"]);
    assert.equal(found.summary.layout, "GIVEN_SPLITS");
    assert.deepEqual(found.summary.givenSplits, ["train", "validation", "test"]);
    assert.deepEqual(found.summary.counts[1], { label: "humans", pictures: 3, given: { train: 1, validation: 1, test: 1 } });
    assert.equal(pictures.find(({ uri }) => uri === "Val/horses/1.png")?.givenSplit, "validation");
    assert.equal(found.summary.ignored.count, 2);
  });

  test("a class may have a name that every JavaScript object knows", async () => {
    const { pictures, scan: found } = await scan(["constructor/sub/1.jpg", "daisy/1.jpg"]);
    assert.equal(found.summary.layout, "CLASS_FOLDERS");
    assert.deepEqual(
      pictures.map(({ label }) => label),
      ["constructor", "daisy"],
    );
  });

  test("a class may be called train", async () => {
    const { scan: found } = await scan(["bus/1.jpg", "test/1.jpg", "train/1.jpg"]);
    assert.equal(found.summary.layout, "CLASS_FOLDERS");
    assert.deepEqual(found.summary.classes, ["bus", "test", "train"]);
  });

  test.each([
    [["train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg"], /found none of "b" in test/],
    [["train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/"], /found none of "b" in test/],
    [["test/a/1.jpg", "test/b/1.jpg"], /expected a split "train", found only test/],
    [["train/a/1.jpg", "train/b/1.jpg", "extra/1.jpg"], /found both: "train" beside "extra"/],
    [["train/a/1.jpg", "train/b/1.jpg", "zebra/1.jpg"], /found both: "zebra" beside "train"/],
  ])("%j is refused", async (paths, message) => {
    assert.match(await refusal(paths), message);
  });
});

describe("manifest", () => {
  const table = (rows: readonly (readonly [uri: string, label: string])[]): ManifestTable => ({
    uris: rows.map(([uri]) => uri),
    labels: rows.map(([, label]) => label),
    labelOf: Uint32Array.from(rows, (_, index) => index),
    splitOf: undefined,
    lineOf: Uint32Array.from(rows, (_, index) => index + 2),
  });

  test("only what it names is a picture, whatever its name", async () => {
    const { pictures, scan: found } = await scan(
      ["a.jpg", "b.txt", "c/d.jpg", "unnamed.jpg", "empty/"],
      table([
        ["a.jpg", "one"],
        ["b.txt", "two"],
        ["c/d.jpg", "one"],
      ]),
    );
    assert.deepEqual(
      pictures.map(({ uri, label }) => [uri, label]),
      [
        ["a.jpg", "one"],
        ["b.txt", "two"],
        ["c/d.jpg", "one"],
      ],
    );
    assert.deepEqual(found.summary.ignored, { count: 1, first: [{ path: "unnamed.jpg", reason: "not named in the manifest" }] });
  });

  test("files that are not there are named with their lines", async () => {
    const manifest = table([
      ["a.jpg", "one"],
      ["b.jpg", "two"],
      ["z.jpg", "two"],
    ]);
    assert.match(await refusal(["a.jpg"], manifest), /names 2 files that are not there \(line 3: "b.jpg"; line 4: "z.jpg"\)/);
  });
});

test("a source that lists out of order is a bug and noticed", async () => {
  async function* wrong(): AsyncGenerator<FileEntry> {
    yield { path: "b/1.jpg", bytes: 1, state: "" };
    yield { path: "a/1.jpg", bytes: 1, state: "" };
  }
  const pictures = scanDataset(wrong(), "/data")[Symbol.asyncIterator]();
  await pictures.next();
  await assert.rejects(pictures.next(), assert.AssertionError);
});

test("the order of texts is that of their UTF-8 bytes", () => {
  const texts = [
    "",
    "a",
    "ab",
    "b",
    "\u00e9",
    "e\u0301",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\u{10000}",
    "\u{10ffff}",
    "a\u{1f33c}",
    "a\uff5e",
    "a/b",
    "a.b",
  ];
  for (const a of texts) {
    for (const b of texts)
      assert.equal(Math.sign(compareUtf8(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)), JSON.stringify([a, b]));
  }
});
