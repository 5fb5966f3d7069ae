import { expect, test } from "vitest";
import { moveStatistics } from "./moving-statistics.js";

test("the batch's value is the mean over the rows of all grains, and each operation is rounded once", () => {
  // Two grains of 3 and 1 rows with means 2 and 6: 3 x 2 + 1 x 6 = 12 over 4 rows.
  const moving = Float32Array.of(1, 1);
  moveStatistics(moving, Float32Array.of(12, 0.4), 4, 0.99);
  const f = Math.fround;
  expect(moving[0]).toBe(f(f(1 * f(0.99)) + f(3 * f(1 - 0.99))));
  expect(moving[1]).toBe(f(f(1 * f(0.99)) + f(f(f(0.4) * 0.25) * f(1 - 0.99))));
  expect(moving[0]).toBeCloseTo(1.02, 6);
});
