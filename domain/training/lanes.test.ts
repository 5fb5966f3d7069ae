import assert from "node:assert";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { dealLanes, evaluationSegments, LaneOrder, memoryForWindows, type Streaming, streamingWithin, windowRowsMax } from "./lanes.js";

/** Made-up image ids, ascending as in a sample table. */
function imageIds(rows: number): Uint8Array {
  const ids = Array.from({ length: rows }, (_, row) => createHash("sha256").update(`${row}`).digest());
  return Buffer.concat(ids.sort((a, b) => Buffer.compare(a, b)));
}

describe("dealLanes", () => {
  test.each([
    [1000, 96, 8],
    [1003, 100, 8],
    [997, 20, 8],
    [50, 8, 4],
    [64, 32, 1],
  ])("%i rows for batches of %i in %i grains: every row in one lane, as many as its grain's share", (rows, batchSize, grains) => {
    const lanes = dealLanes(imageIds(rows), 7, batchSize, grains);
    assert.deepEqual(
      lanes.flatMap((lane) => [...lane]).sort((a, b) => a - b),
      Array.from({ length: rows }, (_, row) => row),
    );
    for (const [grain, lane] of lanes.entries()) {
      const size = Math.floor(((grain + 1) * batchSize) / grains) - Math.floor((grain * batchSize) / grains);
      assert(Math.abs(lane.length - (rows * size) / batchSize) <= size, `grain ${grain} of ${size} rows has ${lane.length}`);
    }
  });

  test("equal grains have lanes that differ by one row at most", () => {
    const lengths = dealLanes(imageIds(1003), 1, 96, 8).map(({ length }) => length);
    assert.deepEqual(lengths, [126, 126, 126, 125, 125, 125, 125, 125]);
  });

  test("the order is one of seed and ids, not of neighbours: without some rows the others keep theirs", () => {
    const ids = imageIds(300);
    const [all] = dealLanes(ids, 3, 8, 1);
    const [fewer] = dealLanes(ids.subarray(100 * 32), 3, 8, 1);
    assert(all !== undefined && fewer !== undefined);
    expect([...fewer].map((row) => row + 100)).toEqual([...all].filter((row) => row >= 100));
    expect([...dealLanes(ids, 4, 8, 1)[0]!]).not.toEqual([...all]);
    // No trace of the ids' own order is left.
    const upwards = [...all].filter((row, place) => place > 0 && row > all[place - 1]!).length;
    assert(upwards > 120 && upwards < 180, `${upwards} of 299 go up`);
  });
});

describe("LaneOrder", () => {
  const streaming: Streaming = { chunkRows: 10, windowChunks: 4 };

  /** Places of the lane at the positions `from` up to `to`, each looked up by itself. */
  function places(order: LaneOrder, from: number, to: number): number[] {
    return Array.from({ length: to - from }, (_, offset) => {
      const window = order.windowAt(from + offset);
      return window.places[from + offset - window.from]!;
    });
  }

  test.each([1, 7, 10, 39, 40, 41, 95, 203])("a lane of %i rows: every row once a pass, in another order each time", (rows) => {
    const order = new LaneOrder(5, 2, rows, streaming);
    const passes = [0, 1, 2].map((pass) => places(order, pass * rows, (pass + 1) * rows));
    for (const pass of passes)
      assert.deepEqual(
        [...pass].sort((a, b) => a - b),
        [...Array(rows).keys()],
      );
    if (rows > 7) assert.equal(new Set(passes.map(String)).size, 3);
  });

  test("windows follow each other, hold at most their rows, and say what they hold", () => {
    const order = new LaneOrder(5, 0, 203, streaming);
    let position = 0;
    const sizes: number[] = [];
    while (position < 3 * 203) {
      const window = order.windowAt(position);
      assert.equal(window.from, position);
      assert.equal(window.pass, Math.floor(position / 203));
      const held = [...window.chunks].flatMap((chunk) => {
        const { from, to } = order.chunkRows(chunk);
        return Array.from({ length: to - from }, (_, row) => from + row);
      });
      assert.deepEqual(
        [...window.places],
        [...window.held].map((row) => held[row]),
      );
      assert.equal(new Set(window.held).size, window.to - window.from);
      sizes.push(window.to - window.from);
      position = window.to;
    }
    assert(
      sizes.every((size) => size <= windowRowsMax(streaming) && size >= windowRowsMax(streaming) / 2),
      sizes.join(" "),
    );
  });

  test("passes bring other chunks together", () => {
    const order = new LaneOrder(5, 0, 203, streaming);
    const together = [0, 203, 406].map((from) => [...order.windowAt(from).chunks].sort((a, b) => a - b).join(" "));
    assert.equal(new Set(together).size, 3);
  });

  test("any position can be begun at; lanes and seeds have orders of their own", () => {
    const forwards = places(new LaneOrder(5, 1, 95, streaming), 0, 400);
    assert.deepEqual(places(new LaneOrder(5, 1, 95, streaming), 317, 400), forwards.slice(317));
    assert.notDeepEqual(places(new LaneOrder(5, 2, 95, streaming), 0, 95), forwards.slice(0, 95));
    assert.notDeepEqual(places(new LaneOrder(6, 1, 95, streaming), 0, 95), forwards.slice(0, 95));
    const inOneChunk = [0, 1].map((lane) => places(new LaneOrder(5, lane, 10, streaming), 0, 10));
    assert.notDeepEqual(inOneChunk[0], inOneChunk[1]);
  });
});

test("two windows of each lane take half of the memory at most", () => {
  for (const [memoryMib, grains, rowBytes] of [
    [256, 8, 5120],
    [4096, 8, 150_528],
    [64, 1, 5120],
    [1, 8, 5120],
  ] as const) {
    const memory = memoryMib * 1024 * 1024;
    const streaming = streamingWithin(memory, grains, rowBytes);
    assert(streaming !== undefined);
    const bytes = 2 * grains * windowRowsMax(streaming) * rowBytes;
    assert(bytes <= memory / 2 && bytes > (memory / 2) * 0.6, `${bytes} of ${memory}`);
  }
  assert.equal(streamingWithin(1024 * 1024, 8, 40_000), undefined);
});

test("the memory that windows of so many rows need is enough for them", () => {
  for (const rows of [1, 2, 7, 12, 55, 96, 1000]) {
    const streaming = streamingWithin(memoryForWindows(rows, 8, 5120), 8, 5120);
    assert(streaming !== undefined && windowRowsMax(streaming) >= rows, `${rows} rows`);
  }
});

test("segments of an evaluated split are whole evaluation grains", () => {
  assert.deepEqual(evaluationSegments(1000, 256, 2), [
    { from: 0, to: 512 },
    { from: 512, to: 1000 },
  ]);
  assert.deepEqual(evaluationSegments(300, 256, 4), [
    { from: 300, to: 300 },
    { from: 0, to: 256 },
    { from: 300, to: 300 },
    { from: 256, to: 300 },
  ]);
  assert.deepEqual(evaluationSegments(0, 256, 1), [{ from: 0, to: 0 }]);
});
