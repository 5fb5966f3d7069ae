import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { decodeListing, encodeListing, type ListingRow } from "./listing.js";
import { decodeSamples, encodeSamples } from "./samples.js";

const oddNames = [
  "rosen/ü.jpg",
  "花/写真 1.jpg",
  "a\nb/<script>.png",
  "e\u0301.jpg",
  "\u00e9.jpg",
  "🌻🌻/x",
  "\u0000",
  "",
  "../x",
  "'\"\\",
  "\ufeffbom",
  "ي".repeat(100),
];

const rows: readonly ListingRow[] = oddNames.map((uri, index) => ({
  uri,
  bytes: [0, 1, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER][index % 5] as number,
  state: `${index}:1699999999123456789:${uri.length}`,
  label: oddNames[(index + 3) % 4] as string,
  ...(index % 4 === 0 ? {} : { givenSplit: (["train", "validation", "test"] as const)[(index % 4) - 1] as "train" }),
}));

test("a part of a listing comes back as it was, names of any script byte by byte", () => {
  assert.deepEqual(decodeListing(encodeListing(rows)), rows);
  assert.equal(Buffer.compare(encodeListing(rows), encodeListing(structuredClone(rows))), 0);
  assert.deepEqual(decodeListing(encodeListing([])), []);
});

test("4,096 rows with long names come back", () => {
  const many = Array.from({ length: 4_096 }, (_, row) => ({
    uri: `${"深".repeat(row % 300)}/${row}.jpg`,
    bytes: row,
    state: `${row}`,
    label: `class ${row % 100}`,
  }));
  assert.deepEqual(decodeListing(encodeListing(many)), many);
});

test("text that has no UTF-8 is refused, not changed", () => {
  assert.throws(() => encodeListing([{ uri: "a\ud800b", bytes: 1, state: "", label: "x" }]), /is not Unicode text/);
  assert.throws(() => encodeListing([{ uri: "a", bytes: -1, state: "", label: "x" }]), { name: "AssertionError" });
});

test("samples come back as they were, and are not taken for a listing", () => {
  const imageIds = Uint8Array.from({ length: oddNames.length * 32 }, (_, index) => (index * 7) % 256);
  const labels = Int32Array.from(oddNames, (_, row) => row * 1_000);
  const splits = Uint8Array.from(oddNames, (_, row) => row % 3);
  const samples = { imageIds, labels, splits, uris: oddNames };
  const bytes = encodeSamples(samples);
  assert.deepEqual(decodeSamples(bytes), samples);
  assert.equal(Buffer.compare(bytes, encodeSamples(structuredClone(samples))), 0);
  assert.deepEqual(
    decodeSamples(encodeSamples({ imageIds: new Uint8Array(0), labels: new Int32Array(0), splits: new Uint8Array(0), uris: [] })).uris,
    [],
  );
  assert.throws(
    () => decodeListing(bytes),
    (error: unknown) =>
      error instanceof CodedError &&
      error.code === "OBJECT_CORRUPT" &&
      error.message.includes("expected an Arrow file with graft.format listing, found samples"),
  );
  assert.throws(() => encodeSamples({ ...samples, splits: splits.map(() => 3) }), { name: "AssertionError" });
});
