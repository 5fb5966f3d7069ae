import { expect, test } from "vitest";
import { grainCount, GrainInput, grainRows, grainRowsMax, grainsOfTrainer } from "./grains.js";

test("grains: the wanted number, fewer where a grain would have less than two rows, one for many parameters", () => {
  expect([96, 16, 15, 7, 3, 1].map((batchSize) => grainCount(batchSize, 8, 1_000))).toEqual([8, 8, 4, 2, 1, 1]);
  expect(grainCount(96, 8, 16_000_001)).toBe(1);
  expect(() => grainCount(96, 6, 1)).toThrow(/power of two/u);
  for (const batchSize of [2, 17, 96, 100, 101]) {
    const grains = grainCount(batchSize, 8, 1);
    const rows = Array.from({ length: grains }, (_, grain) => grainRows(batchSize, grains, grain));
    expect(rows[0]!.from).toBe(0);
    rows.forEach(({ from, to }, grain) => {
      expect(to - from).toBeGreaterThanOrEqual(2);
      expect(to - from).toBeLessThanOrEqual(grainRowsMax(batchSize, grains));
      expect(to).toBe(rows[grain + 1]?.from ?? batchSize);
    });
  }
  expect(grainRowsMax(1, 1)).toBe(2);
});

test("trainers own neighbouring grains, none of them none", () => {
  expect([0, 1, 2].map((trainer) => grainsOfTrainer(8, 3, trainer))).toEqual([
    { from: 0, to: 2 },
    { from: 2, to: 5 },
    { from: 5, to: 8 },
  ]);
  expect(() => grainsOfTrainer(2, 3, 0)).toThrow(/cannot share/u);
});

const rows = 40;
const data = {
  views: [Float32Array.from({ length: rows * 3 }, (_, i) => i)],
  featureLength: 3,
  labels: Int32Array.from({ length: rows }, (_, row) => row % 2),
  classWeights: Float32Array.of(0.5, 2),
};
const dropout = [
  { name: "head/dropout_1", units: 3, rate: 0.5 },
  { name: "head/dropout_2", units: 8, rate: 0.2 },
];

test("one call for all grains holds the same rows and masks as calls for each, padding has weight 0", () => {
  const batchSize = 19;
  const batch = Uint32Array.from({ length: batchSize }, (_, place) => (place * 7) % rows);
  const whole = new GrainInput({ batchSize, grains: 8, callGrains: 8, seed: 1, dropout }, data);
  const single = new GrainInput({ batchSize, grains: 8, callGrains: 1, seed: 1, dropout }, data);
  whole.fill(5, Uint32Array.from(batch).reverse(), 0); // what an earlier step left must not show
  whole.fill(4, batch, 0);
  let seen = 0;
  for (let grain = 0; grain < 8; grain++) {
    single.fill(4, batch, grain);
    const { from, to } = grainRows(batchSize, 8, grain);
    expect(single.features).toEqual(whole.features.subarray(grain * 9, grain * 9 + 9));
    expect(single.labels).toEqual(whole.labels.subarray(grain * 3, grain * 3 + 3));
    expect(single.rowWeights).toEqual(whole.rowWeights.subarray(grain * 3, grain * 3 + 3));
    for (let at = 0; at < 3; at++) {
      const row = batch[from + at];
      if (from + at < to && row !== undefined) {
        seen += 1;
        expect([...single.features.subarray(at * 3, at * 3 + 3)]).toEqual([row * 3, row * 3 + 1, row * 3 + 2]);
        expect(single.labels[at]).toBe(row % 2);
        expect(single.rowWeights[at]).toBe(row % 2 === 0 ? 0.5 : 2);
        single.dropoutMasks.forEach((mask, layer) => {
          const { units } = dropout[layer]!;
          const start = (grain * 3 + at) * units;
          expect(mask.subarray(at * units, (at + 1) * units)).toEqual(whole.dropoutMasks[layer]!.subarray(start, start + units));
        });
      } else {
        expect(single.rowWeights[at]).toBe(0);
        expect([...single.features.subarray(at * 3, at * 3 + 3)]).toEqual([0, 0, 0]);
      }
    }
  }
  expect(seen).toBe(batchSize);
});

test("masks depend on the place in the batch, not on the number of grains; they drop their rate and differ by step and layer", () => {
  const batch = new Uint32Array(32);
  const mask = (grains: number, step: number, name = "d"): Float32Array => {
    const input = new GrainInput({ batchSize: 32, grains, callGrains: grains, seed: 1, dropout: [{ name, units: 501, rate: 0.2 }] }, data);
    input.fill(step, batch, 0);
    return input.dropoutMasks[0]!;
  };
  expect(mask(8, 3)).toEqual(mask(1, 3));
  expect(mask(1, 4)).not.toEqual(mask(1, 3));
  expect(mask(1, 3, "e")).not.toEqual(mask(1, 3));
  const values = mask(8, 3);
  expect(new Set(values)).toEqual(new Set([0, Math.fround(1.25)]));
  const dropped = values.filter((value) => value === 0).length / values.length;
  expect(Math.abs(dropped - 0.2)).toBeLessThan(5 * Math.sqrt(0.16 / values.length));
});

test("epoch e uses view e mod the number of views, also where an epoch ends within a batch; pixels stay bytes", () => {
  const views = [0, 1, 2].map((view) => Uint8Array.from({ length: 5 }, (_, row) => 10 * view + row));
  const pixels = { views, featureLength: 1, labels: new Int32Array(5), classWeights: Float32Array.of(1) };
  const input = new GrainInput({ batchSize: 4, grains: 1, callGrains: 1, seed: 1, dropout: [] }, pixels);
  const seen = Array.from({ length: 5 }, (_, step) => {
    input.fill(step, Uint32Array.of(0, 1, 2, 3), 0);
    return [...input.features];
  });
  expect(input.features).toBeInstanceOf(Uint8Array);
  // Places 0 to 4 are epoch 0, 5 to 9 epoch 1, 10 to 14 epoch 2, 15 to 19 epoch 3, which is view 0 again.
  expect(seen).toEqual([
    [0, 1, 2, 3],
    [0, 11, 12, 13],
    [10, 11, 22, 23],
    [20, 21, 22, 3],
    [0, 1, 2, 3],
  ]);
});
