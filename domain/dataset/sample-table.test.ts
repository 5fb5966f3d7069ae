import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "vitest";
import { CodedError } from "../errors.js";
import type { SplitName } from "./listing.js";
import { type SampleColumns, type SampleRow, type SampleTable, SampleTableBuilder } from "./sample-table.js";
import { assignedSplit, splitOf, type SplitSpec } from "./split.js";

const spec: SplitSpec = { trainPercent: 80, validationPercent: 10, testPercent: 10, seed: 1 };
const idOf = (name: string | number): string => createHash("sha256").update(String(name)).digest("hex");

function build(
  rows: readonly SampleRow[],
  { classes = ["a", "b"], given = [] as SplitName[], split = spec } = {},
): Omit<SampleTable, "rows"> & SampleColumns {
  const builder = new SampleTableBuilder(classes);
  for (const row of rows) builder.add(row);
  const { rows: columns, ...table } = builder.build(given, split);
  return { ...table, ...columns(0, table.length) };
}

/** Enough rows that every class has some in each split. */
const many = Array.from({ length: 2_000 }, (_, n): SampleRow => ({ imageId: idOf(n), uri: `u${n}`, label: n % 2 === 0 ? "a" : "b" }));

describe("split by content", () => {
  test("shares come out as the percents say, for any seed, and seeds differ", () => {
    const ids = Array.from({ length: 20_000 }, (_, n) => idOf(n));
    let moved = 0;
    for (const seed of [1, 2, 77]) {
      const counts = { train: 0, validation: 0, test: 0 };
      for (const id of ids) counts[splitOf(id, { trainPercent: 70, validationPercent: 12.5, testPercent: 17.5, seed })]++;
      // Four standard deviations of a binomial count.
      for (const [name, share] of [
        ["train", 0.7],
        ["validation", 0.125],
        ["test", 0.175],
      ] as const) {
        assert.ok(
          Math.abs(counts[name] - share * ids.length) < 4 * Math.sqrt(ids.length * share * (1 - share)),
          `seed ${seed}: ${counts[name]} in ${name}`,
        );
      }
      moved += ids.filter((id) => splitOf(id, { ...spec, seed }) !== splitOf(id, spec)).length;
    }
    assert.ok(moved > 10_000);
  });

  test("a picture's split is pinned for ever", () => {
    const found = [1, 2, 3].map((seed) => Array.from({ length: 12 }, (_, n) => splitOf(idOf(n), { ...spec, seed })[1]).join(""));
    assert.deepEqual(found, ["rrrrrrrrarrr", "rrrrrrrrarrr", "rrrrrrrrrrra"]);
  });

  test("percents of 0 and 100 are exact", () => {
    for (const { imageId } of many) {
      assert.equal(splitOf(imageId, { trainPercent: 100, validationPercent: 0, testPercent: 0, seed: 5 }), "train");
      assert.notEqual(splitOf(imageId, { trainPercent: 50, validationPercent: 50, testPercent: 0, seed: 5 }), "test");
      assert.notEqual(splitOf(imageId, { trainPercent: 50, validationPercent: 0, testPercent: 50, seed: 5 }), "validation");
    }
  });

  test("only what the dataset lacks is drawn", () => {
    const drawn = (given: SplitName | undefined, givenSplits: SplitName[]): string[] =>
      [...new Set(many.map(({ imageId }) => assignedSplit(imageId, given, givenSplits, spec)))].sort();
    assert.deepEqual(drawn(undefined, []), ["test", "train", "validation"]);
    assert.deepEqual(drawn("train", ["train"]), ["test", "train", "validation"]);
    assert.deepEqual(drawn("train", ["train", "test"]), ["train", "validation"]);
    assert.deepEqual(drawn("train", ["train", "validation"]), ["train"]);
    assert.deepEqual(drawn("test", ["train", "test"]), ["test"]);
    const validation = many.filter(({ imageId }) => assignedSplit(imageId, "train", ["train", "test"], spec) === "validation").length;
    assert.ok(Math.abs(validation - (2_000 * 10) / 90) < 60, `${validation} of 2000`);
  });
});

describe("table", () => {
  test("rows are sorted by id and do not depend on the order of arrival", () => {
    const table = build(many);
    assert.deepEqual(build([...many].reverse()), table);
    const ids = Array.from({ length: table.length }, (_, row) => Buffer.from(table.ids.subarray(row * 32, row * 32 + 32)).toString("hex"));
    assert.deepEqual(ids, many.map(({ imageId }) => imageId).sort());
    for (const [row, uri] of table.uris.entries()) {
      const n = Number(uri.slice(1));
      assert.equal(ids[row], idOf(n));
      assert.equal(table.labels[row], n % 2);
      assert.equal(["train", "validation", "test"][table.splits[row] ?? 9], splitOf(idOf(n), spec));
    }
    assert.equal(table.counts.train + table.counts.validation + table.counts.test, 2_000);
    assert.deepEqual(table.missing, []);
  });

  test("copies become one row with the first uri", () => {
    const copies = [
      { ...many[0], uri: "z" },
      { ...many[0], uri: "\u{1f33c}" },
      { ...many[0], uri: "B" },
    ] as SampleRow[];
    const table = build([...copies, ...many]);
    assert.equal(table.length, 2_000);
    assert.equal(table.duplicates, 3);
    assert.ok(table.uris.includes("B") && !table.uris.includes("u0"));
  });

  test("one picture under two labels is left out and listed", () => {
    const table = build([...many, { imageId: idOf(4), uri: "elsewhere", label: "b" }, { imageId: idOf(4), uri: "copy", label: "a" }]);
    assert.equal(table.length, 1_999);
    assert.equal(table.duplicates, 0);
    const places = [
      { uri: "copy", label: "a" },
      { uri: "elsewhere", label: "b" },
      { uri: "u4", label: "a" },
    ];
    assert.deepEqual(table.conflicts, { count: 1, first: [{ imageId: idOf(4), places }] });
  });

  test("one picture in two given splits stays in the evaluation split", () => {
    const rows = many.map((row) => ({ ...row, givenSplit: "train" as const }));
    const given = (["train", "validation", "test"] as const).map((givenSplit, n) => ({
      imageId: idOf(6),
      uri: `copy ${n}`,
      label: "a",
      givenSplit,
    }));
    const table = build([...rows, ...given], { given: ["train", "validation", "test"] });
    assert.deepEqual(table.splitOverlaps, {
      count: 1,
      first: [{ imageId: idOf(6), keptIn: "test", uris: ["copy 0", "copy 1", "copy 2", "u6"] }],
    });
    assert.deepEqual(table.counts, { train: 1_999, validation: 0, test: 1 });
    assert.equal(table.duplicates, 3);
    assert.deepEqual(table.missing, [{ label: "b", split: "test" }]);
  });

  test("findings are counted in full and named up to a bound", () => {
    const table = build([
      ...many,
      ...many.slice(0, 300).map((row) => ({ ...row, uri: `x${row.uri}`, label: row.label === "a" ? "b" : "a" })),
    ]);
    assert.equal(table.conflicts.count, 300);
    assert.equal(table.conflicts.first.length, 100);
    assert.equal(table.length, 1_700);
  });

  test("a class with nothing to train on is refused", () => {
    const attempt = (): unknown => build(many, { classes: ["a", "b", "c"] });
    assert.throws(
      attempt,
      (error) => error instanceof CodedError && error.code === "DATASET_INVALID" && /found none of "c"/.test(error.message),
    );
  });

  test("what is not an image id, and labels that the scan did not see, are bugs", () => {
    const builder = new SampleTableBuilder(["a", "b"]);
    assert.throws(() => builder.add({ imageId: "beef", uri: "u", label: "a" }), assert.AssertionError);
    assert.throws(() => builder.add({ imageId: `${idOf(1).slice(0, 63)}x`, uri: "u", label: "a" }), assert.AssertionError);
    assert.throws(() => builder.add({ imageId: idOf(1), uri: "u", label: "c" }), assert.AssertionError);
  });
});
