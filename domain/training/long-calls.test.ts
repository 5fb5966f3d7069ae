import { expect, test } from "vitest";
import type { LayerKind, Network } from "../network/network.js";
import { isLongCall } from "./long-calls.js";

function chain(inputShape: readonly number[], ...kinds: LayerKind[]): Network {
  const layers = kinds.map((kind, i) => ({ ...kind, name: `layer_${String(i)}`, inputs: [i === 0 ? "input" : `layer_${String(i - 1)}`] }));
  return { name: "test", inputShape, layers, output: `layer_${String(kinds.length - 1)}` };
}

const conv = (filters: number): LayerKind => ({
  kind: "conv2d",
  filters,
  kernel: [3, 3],
  strides: [1, 1],
  padding: { top: 1, bottom: 1, left: 1, right: 1 },
  bias: false,
});
const dense = (units: number): LayerKind => ({ kind: "dense", units, bias: true });
const flatten: LayerKind = { kind: "flatten" };

test("a convolutional tail is long from a few rows on, its evaluation from three times as many", () => {
  // 10 x 10 places x 9 x 64 x 64 weights: 3.7 million multiply-adds a row.
  const tail = chain([10, 10, 64], conv(64), flatten, dense(5));
  expect([11, 12].map((rows) => isLongCall(tail, rows, "gradient"))).toEqual([false, true]);
  expect([33, 34].map((rows) => isLongCall(tail, rows, "evaluation"))).toEqual([false, true]);
});

test("dense layers alone are not long, nor what has a large kernel", () => {
  expect(isLongCall(chain([2048], dense(1024), dense(100)), 256, "gradient")).toBe(false);
  expect(isLongCall(chain([10, 10, 64], conv(64), flatten, dense(1024)), 256, "gradient")).toBe(false);
});
