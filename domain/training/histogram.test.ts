import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { defaultLimits, tensorStatistics } from "./histogram.js";

/** The definition, without the look-up table: the first limit above the value. */
function plainCounts(values: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const value of values) {
    const limit = defaultLimits.find((candidate) => value < candidate) as number;
    counts.set(limit, (counts.get(limit) ?? 0) + 1);
  }
  return counts;
}

function filledBuckets(values: readonly number[]): Map<number, number> {
  const { limits, counts } = tensorStatistics(Float32Array.from(values));
  return new Map(limits.map((limit, i) => [limit, counts[i] as number] as const).filter(([, count]) => count > 0));
}

describe("tensorStatistics", () => {
  test("the limits are TensorFlow's", () => {
    assert.equal(defaultLimits.length, 1551);
    assert.equal(defaultLimits[775], 0);
    assert.equal(defaultLimits[776], 1e-12);
    assert.equal(defaultLimits[777], 1e-12 * 1.1);
    assert.equal(defaultLimits[0], -Number.MAX_VALUE);
    assert.ok(defaultLimits.every((limit, i) => i === 0 || limit > (defaultLimits[i - 1] as number)));
  });

  test("moments", () => {
    const { count, nonFinite, mean, deviation, minimum, maximum, sum, sumOfSquares } = tensorStatistics(
      Float32Array.of(1, 2, 3, 6, NaN, Infinity),
    );
    assert.deepEqual(
      { count, nonFinite, mean, minimum, maximum, sum, sumOfSquares },
      { count: 4, nonFinite: 2, mean: 3, minimum: 1, maximum: 6, sum: 12, sumOfSquares: 50 },
    );
    assert.ok(Math.abs(deviation - Math.sqrt(3.5)) < 1e-15);
  });

  test("a large mean does not swallow the deviation", () => {
    const { deviation } = tensorStatistics(Float32Array.of(1e7, 1e7 + 1, 1e7 + 2));
    assert.ok(Math.abs(deviation - Math.sqrt(2 / 3)) < 1e-9);
  });

  test("every value falls into the bucket of the definition", () => {
    const values = [0, -0, 1e-45, -1e-45, 3.4e38, -3.4e38, 1e-12, -1e-12, 1, -1];
    // Each limit as float32 and its two neighbours in float32.
    const bits = new Int32Array(1);
    const float = new Float32Array(bits.buffer);
    for (const limit of defaultLimits) {
      float[0] = limit;
      if (!Number.isFinite(float[0])) continue;
      const at = bits[0] as number;
      for (const near of [at - 1, at, at + 1]) {
        bits[0] = near;
        const value = float[0];
        if (Number.isFinite(value)) values.push(value);
      }
    }
    assert.ok(values.length > 4000);
    const singles = values.map((value) => Math.fround(value));
    assert.deepEqual(
      [...filledBuckets(singles)].sort(([a], [b]) => a - b),
      [...plainCounts(singles)].sort(([a], [b]) => a - b),
    );
  });

  test("runs of empty buckets are joined and the counts add up", () => {
    const { limits, counts } = tensorStatistics(Float32Array.of(-2, 0, 0, 5));
    assert.equal(
      counts.reduce((total, count) => total + count, 0),
      4,
    );
    assert.ok(limits.length <= 7);
    assert.equal(limits.at(-1), Number.MAX_VALUE);
  });

  test("nothing finite gives zeros that survive JSON", () => {
    const statistics = tensorStatistics(Float32Array.of(NaN));
    assert.deepEqual(JSON.parse(JSON.stringify(statistics)), statistics);
    assert.equal(statistics.nonFinite, 1);
    assert.equal(tensorStatistics(new Float32Array(0)).count, 0);
  });
});
