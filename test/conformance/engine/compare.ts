import { expect } from "vitest";

/** Every value within `tolerance` times the largest expected one (at least 1). */
export function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what = "value"): void {
  expectWithin(found, expected, tolerance * Math.max(1, largestOf(expected)), what);
}

export function expectWithin(found: ArrayLike<number>, expected: ArrayLike<number>, distance: number, what: string): void {
  expect(found.length, `length of ${what}`).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((found[i] as number) - (expected[i] as number));
    if (!(difference <= distance)) expect.fail(`${what} ${i}: expected ${expected[i]} within ${distance}, found ${found[i]}`);
  }
}

export function largestOf(values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i] as number));
  return largest;
}

export function bits(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}
