import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "vitest";
import { IdIndex } from "./id-index.js";

function idOf(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

test("ids are found where they were put last, others are not", () => {
  const index = new IdIndex();
  const known = new Map<string, readonly [shard: number, row: number]>();
  for (let round = 0; round < 20_000; round++) {
    const name = `${(round * 7_919) % 9_000}`;
    index.set(idOf(name), 0, round, round % 4_096);
    known.set(name, [round, round % 4_096]);
  }
  assert.equal(index.size, known.size);
  for (const [name, place] of known) {
    const entry = index.find(idOf(name));
    assert.deepEqual([index.shardOf(entry), index.rowOf(entry)], place);
  }
  for (let other = 9_000; other < 12_000; other++) assert.equal(index.find(idOf(`${other}`)), -1);
});

test("ids that agree in their first bytes stay apart", () => {
  const index = new IdIndex();
  const ids = Array.from({ length: 300 }, (_, last) =>
    new Uint8Array(32)
      .fill(5)
      .fill(last % 256, 31)
      .fill(last >> 8, 30, 31),
  );
  for (const [row, id] of ids.entries()) index.set(id, 0, 1, row);
  for (const [row, id] of ids.entries()) assert.equal(index.rowOf(index.find(id)), row);
  assert.equal(index.size, 300);
});

test("ids are read in the middle of a longer array", () => {
  const index = new IdIndex();
  const pool = Buffer.concat([idOf("a"), idOf("b"), idOf("c")]);
  index.set(pool, 32, 7, 3);
  assert.equal(index.find(idOf("a")), -1);
  assert.equal(index.shardOf(index.find(idOf("b"))), 7);
  assert.equal(index.find(pool, 32), index.find(idOf("b")));
  assert.throws(() => index.find(pool, 65), { name: "AssertionError" });
});

test("a million ids take at most 80 MB", () => {
  const index = new IdIndex();
  const id = new Uint8Array(32);
  const words = new Uint32Array(id.buffer);
  for (let row = 0; row < 1_000_000; row++) {
    // An odd factor makes the first words distinct and spread.
    words[0] = Math.imul(row, 2_654_435_761);
    words[1] = row;
    index.set(id, 0, row >> 12, row & 4_095);
  }
  assert.equal(index.size, 1_000_000);
  assert.ok(index.bytes <= 80_000_000, `${index.bytes} bytes`);
});
