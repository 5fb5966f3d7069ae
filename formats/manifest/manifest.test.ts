import assert from "node:assert/strict";
import { describe, test } from "vitest";
import type { ManifestTable } from "../../domain/dataset/listing.js";
import { CodedError } from "../../domain/errors.js";
import { decodeManifest, manifestFormat } from "./manifest.js";

const rowsOf = (table: ManifestTable): unknown[] =>
  table.uris.map((uri, row) => [
    uri,
    table.labels[table.labelOf[row] ?? -1],
    ...(table.splitOf ? [["train", "validation", "test"][table.splitOf[row] ?? 9]] : []),
  ]);
const csv = (text: string): ManifestTable => decodeManifest(Buffer.from(text), "csv", "m.csv");
const jsonl = (text: string): ManifestTable => decodeManifest(Buffer.from(text), "jsonl", "m.jsonl");

function refusal(decode: () => unknown): string {
  try {
    decode();
  } catch (error) {
    assert.ok(error instanceof CodedError && error.code === "DATASET_INVALID", String(error));
    return error.message;
  }
  assert.fail("the manifest was not refused");
}

test("the ending of a name tells the format", () => {
  assert.deepEqual(["a.CSV", "b.jsonl", "c.ndjson", "d.txt", "csv"].map(manifestFormat), ["csv", "jsonl", "jsonl", undefined, undefined]);
});

describe("CSV", () => {
  test("columns in any order, others skipped, a byte order mark, both line ends, no last one", () => {
    const table = csv("\ufefflabel,width,URI,split\r\nroses,4,b.jpg,train\r\n\r\ntulips,5,a/b c.jpg,val\ntulips,6,\u{1f33c}.jpg,TEST");
    assert.deepEqual(rowsOf(table), [
      ["a/b c.jpg", "tulips", "validation"],
      ["b.jpg", "roses", "train"],
      ["\u{1f33c}.jpg", "tulips", "test"],
    ]);
    assert.deepEqual([...table.lineOf], [4, 2, 5]);
  });

  test("quoted fields hold commas, quotes and line breaks, and lines are still counted", () => {
    const table = csv('uri,label\n"a,""b"".jpg","two\nlines"\n<script>.jpg,x\n');
    assert.deepEqual(rowsOf(table), [
      ["<script>.jpg", "x"],
      ['a,"b".jpg', "two\nlines"],
    ]);
    assert.deepEqual([...table.lineOf], [4, 2]);
    assert.equal(table.splitOf, undefined);
  });

  test.each([
    ["", /expected a first line with the columns uri,label\[,split\], found ""/],
    ["a.jpg,roses\n", /found "a.jpg,roses"/],
    ["uri,label\n", /expected lines that name pictures, found none/],
    ["uri,label\n../a.jpg,x\n", /1 bad lines; line 2: expected a path under the manifest's folder, found "..\/a.jpg"/],
    ["uri,label\na/../../b.jpg,x\n", /line 2: expected a path under/],
    ["uri,label\n/etc/passwd,x\n", /line 2: expected a path relative to the manifest, found "\/etc\/passwd"/],
    ["uri,label\nC:\\a.jpg,x\nfile:///a,x\ns3://b/c,x\n", /3 bad lines; line 2: .*; line 3: .*; line 4: /],
    ["uri,label\n./a.jpg,x\na//b.jpg,x\n", /2 bad lines/],
    ["uri,label\n,x\na.jpg,\n", /line 2: expected a uri, found an empty one; line 3: expected a label/],
    ["uri,label\na.jpg\na.jpg,x,y\n", /line 2: expected 2 fields, found 1; line 3: expected 2 fields, found 3/],
    ["uri,label,split\na.jpg,x,dev\n", /line 2: expected the split train, validation or test, found "dev"/],
    ["uri,label,split\na.jpg,x,constructor\n", /line 2: expected the split train, validation or test, found "constructor"/],
    ["uri,label,split\na.jpg,x,train\nb.jpg,x,\n", /line 3: expected a split, as in line 2, found none/],
    ["uri,label\na.jpg,x\nb.jpg,x\na.jpg,y\n", /line 4: "a.jpg" is named in line 2 already/],
  ])("%j is refused", (text, message) => {
    assert.match(
      refusal(() => csv(text)),
      message,
    );
  });

  test("the first 20 bad lines are named, all are counted", () => {
    const message = refusal(() => csv(`uri,label\n${"../x.jpg,a\n".repeat(100)}`));
    assert.match(message, /^m.csv: 100 bad lines; line 2: .*line 21: [^;]*; and 80 more$/);
  });

  test("bytes that are no UTF-8 are refused, not replaced", () => {
    assert.match(
      refusal(() => decodeManifest(Buffer.from([0x75, 0x72, 0xff]), "csv", "m.csv")),
      /expected a UTF-8 text/,
    );
  });
});

describe("JSON lines", () => {
  test("one object a line", () => {
    assert.deepEqual(rowsOf(jsonl('{"uri":"b.jpg","label":"x","width":3}\n\n{"uri":"a\\nb.jpg","label":"y"}')), [
      ["a\nb.jpg", "y"],
      ["b.jpg", "x"],
    ]);
    assert.deepEqual(rowsOf(jsonl('{"uri":"b.jpg","label":"x","split":"training"}')), [["b.jpg", "x", "train"]]);
  });

  test("every bad line is named with its problem", () => {
    const message = refusal(() =>
      jsonl('{"uri":"a.jpg"}\nnot json\n[1]\n{"uri":"../a","label":"x"}\n{"uri":"a","label":"x","split":3}\nnull\n'),
    );
    assert.match(
      message,
      /6 bad lines; line 1: expected uri and label as texts; line 2: .* JSON cannot read; line 3: .*; line 4: .*folder.*; line 5: expected split as a text; line 6: /,
    );
  });
});
