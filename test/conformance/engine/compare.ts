import { expect } from "vitest";
import type { ParameterLayout } from "../../../domain/training/parameters.js";

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

/**
 * Gradients, tensor by tensor: each within 1e-4 of its largest slope; or of a tenth of the largest of all, below which only rounding is left (a bias below batch norm has no slope at all).
 */
export function expectTensors(layout: ParameterLayout, found: Float32Array, expected: Float32Array | Float64Array): void {
  expect(found.length, "length of the gradient").toBe(layout.length);
  for (const { name, offset, length } of layout.entries) {
    const slopes = expected.subarray(offset, offset + length);
    const scale = Math.max(largestOf(slopes), 0.1 * largestOf(expected));
    expectWithin(found.subarray(offset, offset + length), slopes, 1e-4 * scale, `gradient of ${name}`);
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
