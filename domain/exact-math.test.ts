import { expect, test } from "vitest";
import { cosPi, exactExp, exactLog, sinPi, wholePower } from "./exact-math.js";

/** Relative distance in units of 2^-52. */
function ulps(found: number, expected: number): number {
  return found === expected ? 0 : Math.abs(found - expected) / Math.abs(expected) / 2.220446049250313e-16;
}

test("logarithm and exponential are within 2 units in the last place of the engine's", () => {
  for (let i = 1; i < 20_000; i++) {
    const x = i / 1_234.5;
    expect(ulps(exactLog(x), Math.log(x)), `ln ${x}`).toBeLessThanOrEqual(2);
    const y = (i - 10_000) / 15;
    expect(ulps(exactExp(y), Math.exp(y)), `e^${y}`).toBeLessThanOrEqual(2);
  }
  expect(exactLog(1)).toBe(0);
  expect(exactExp(0)).toBe(1);
  expect(exactExp(-800)).toBe(0);
  expect(exactExp(800)).toBe(Infinity);
  expect(ulps(exactLog(2.2250738585072014e-308), Math.log(2.2250738585072014e-308))).toBeLessThanOrEqual(1);
  for (const x of [0, -1, NaN, Infinity, 5e-324]) expect(() => exactLog(x)).toThrow(RangeError);
});

test("cosine and sine of multiples of pi", () => {
  for (let i = -20_000; i < 20_000; i++) {
    const x = i / 5_000;
    expect(Math.abs(cosPi(x) - Math.cos(Math.PI * x)), `cos ${x} pi`).toBeLessThan(3e-15);
    expect(Math.abs(sinPi(x) - Math.sin(Math.PI * x)), `sin ${x} pi`).toBeLessThan(3e-15);
  }
  expect([0, 0.5, 1, 1.5, 2, 1_000_001].map(cosPi)).toEqual([1, 0, -1, 0, 1, -1]);
  expect([0, 0.5, 1.5, 2, -0.5].map(sinPi)).toEqual([0, 1, -1, 0, -1]);
});

test("whole powers", () => {
  expect(wholePower(3, 13)).toBe(1_594_323);
  expect(wholePower(0.5, 0)).toBe(1);
  expect(wholePower(0.5, 1_000)).toBe(1 / wholePower(2, 1_000));
  expect(() => wholePower(2, 0.5)).toThrow(RangeError);
});
