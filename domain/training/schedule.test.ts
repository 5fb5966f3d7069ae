import { expect, test } from "vitest";
import { learningRateAt } from "./schedule.js";

test("cosine goes from the base at the end of the warm-up to finalFraction of it at the last step", () => {
  const cosine = { kind: "cosine", finalFraction: 0.1, warmupSteps: 10 } as const;
  expect([0, 5, 10].map((step) => learningRateAt(cosine, 0.4, step, 111))).toEqual([0, 0.2, 0.4]);
  expect(learningRateAt(cosine, 0.4, 60, 111)).toBeCloseTo(0.22, 14);
  expect(learningRateAt(cosine, 0.4, 110, 111)).toBeCloseTo(0.04, 14);
  expect(learningRateAt(cosine, 0.4, 35, 111)).toBeCloseTo(0.4 * (0.1 + 0.9 * 0.5 * (1 + Math.cos(Math.PI / 4))), 14);
  expect(learningRateAt({ ...cosine, warmupSteps: 0 }, 0.4, 0, 1)).toBe(0.4);
});

test("step and exponential count from the end of the warm-up", () => {
  const step = { kind: "step", everySteps: 10, factor: 0.5, warmupSteps: 4 } as const;
  expect([4, 13, 14, 24].map((at) => learningRateAt(step, 1, at, 100))).toEqual([1, 1, 0.5, 0.25]);
  const exponential = { kind: "exponential", decaySteps: 20, rate: 0.9, warmupSteps: 4 } as const;
  expect(learningRateAt(exponential, 2, 34, 100)).toBeCloseTo(2 * Math.pow(0.9, 1.5), 14);
});

test("constant stays, and a million steps of the steepest schedule end quickly", () => {
  expect(learningRateAt({ kind: "constant", warmupSteps: 0 }, 0.3, 99, 100)).toBe(0.3);
  expect(learningRateAt({ kind: "step", everySteps: 1, factor: 0.999, warmupSteps: 0 }, 1, 1e6, 1e7)).toBeLessThan(1e-300);
});
