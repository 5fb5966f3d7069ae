import { expect, test } from "vitest";
import { formatProbability, ranked } from "./predict.js";

test("classes come with falling probability", () => {
  expect(ranked(["a", "b", "c"], Float32Array.of(0.25, 0.5, 0.25)).map(({ label }) => label)).toEqual(["b", "a", "c"]);
});

test("a single sigmoid answers with both classes", () => {
  expect(ranked(["cat", "dog"], Float32Array.of(0.25))).toEqual([
    { label: "cat", probability: 0.75 },
    { label: "dog", probability: 0.25 },
  ]);
});

test("small probabilities are written in scientific notation", () => {
  expect([0.5, 0.001, 0.00012, 0].map(formatProbability)).toEqual(["0.500", "0.001", "1.20e-4", "0.000"]);
});
