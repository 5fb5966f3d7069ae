import assert from "node:assert";

/** What a tensor's values look like: moments and a histogram. Every number is finite, so that it survives JSON. */
export interface TensorStatistics {
  /** Finite values; all other fields are over these and 0 (or empty) where there are none. */
  readonly count: number;
  /** NaN and infinite values, which are in no other field. */
  readonly nonFinite: number;
  readonly mean: number;
  /** Of the population: sqrt(mean of (value - mean)^2). */
  readonly deviation: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly sum: number;
  readonly sumOfSquares: number;
  /** Ascending; bucket i holds values from `limits[i - 1]` (inclusive) to `limits[i]` (exclusive). Runs of empty buckets are one. */
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

/**
 * TensorFlow's default buckets (`tensorflow/core/lib/histogram/histogram.cc`): limits that grow by 10 % from 1e-12 to 1e20, mirrored for negative values, 0 and the ends of float64.
 * A running product, as there.
 */
export const defaultLimits: Float64Array = (() => {
  const positive: number[] = [];
  for (let limit = 1e-12; limit < 1e20; limit *= 1.1) positive.push(limit);
  positive.push(Number.MAX_VALUE);
  return Float64Array.from([...positive.map((limit) => -limit).reverse(), 0, ...positive]);
})();

/**
 * Bucket of the smallest magnitude among the float32 values that share sign, exponent and the first five bits of the mantissa.
 * Such values differ by at most 1/32, and buckets by 1/10, so the right bucket is this one or a neighbour: a look-up and one comparison instead of a search.
 */
const cellBits = 14;
const bucketOfCell: Int16Array = (() => {
  const table = new Int16Array(1 << cellBits);
  const bits = new Int32Array(1);
  const value = new Float32Array(bits.buffer);
  for (let cell = 0; cell < table.length; cell++) {
    bits[0] = cell << (32 - cellBits);
    table[cell] = upperBound(value[0] as number);
  }
  return table;
})();

/** Moments in float64 and the histogram of `values` over `defaultLimits`. About 3 ms for 130,000 values. */
export function tensorStatistics(values: Float32Array): TensorStatistics {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const buckets = new Float64Array(defaultLimits.length);
  let count = 0;
  let minimum = Infinity;
  let maximum = -Infinity;
  let sum = 0;
  let sumOfSquares = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (!(value - value === 0)) continue;
    count++;
    if (value < minimum) minimum = value;
    if (value > maximum) maximum = value;
    sum += value;
    sumOfSquares += value * value;
    let bucket = bucketOfCell[(bits[i] as number) >>> (32 - cellBits)] as number;
    if (value >= (defaultLimits[bucket] as number)) bucket++;
    else if (bucket > 0 && value < (defaultLimits[bucket - 1] as number)) bucket--;
    buckets[bucket] = (buckets[bucket] as number) + 1;
  }
  const nonFinite = values.length - count;
  if (count === 0)
    return { count, nonFinite, mean: 0, deviation: 0, minimum: 0, maximum: 0, sum: 0, sumOfSquares: 0, limits: [], counts: [] };

  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const difference = (values[i] as number) - mean;
    if (difference - difference === 0) squares += difference * difference;
  }
  return {
    count,
    nonFinite,
    mean,
    deviation: Math.sqrt(squares / count),
    minimum,
    maximum,
    sum,
    sumOfSquares,
    ...joinEmptyBuckets(buckets),
  };
}

/** Index of the first limit above `value`. */
function upperBound(value: number): number {
  let low = 0;
  let high = defaultLimits.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value < (defaultLimits[middle] as number)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** As TensorFlow's `Histogram::EncodeToProto` without `preserve_zero_buckets`. */
function joinEmptyBuckets(buckets: Float64Array): Pick<TensorStatistics, "limits" | "counts"> {
  const limits: number[] = [];
  const counts: number[] = [];
  for (let i = 0; i < buckets.length; i++) {
    const count = buckets[i] as number;
    if (count === 0) while (i + 1 < buckets.length && buckets[i + 1] === 0) i++;
    limits.push(defaultLimits[i] as number);
    counts.push(count);
  }
  assert(limits.at(-1) === Number.MAX_VALUE);
  return { limits, counts };
}
