import { expect, test } from "vitest";
import { initializeParameters } from "./initialize.js";
import type { ParameterLayout } from "./parameters.js";

const layout: ParameterLayout = {
  entries: [
    { name: "bn/beta", shape: [4], offset: 0, length: 4 },
    { name: "bn/gamma", shape: [4], offset: 4, length: 4 },
    { name: "conv/kernel", shape: [3, 3, 8, 16], offset: 8, length: 1_152 },
    { name: "head/output/bias", shape: [10], offset: 1_160, length: 10 },
    { name: "head/output/kernel", shape: [100, 10], offset: 1_170, length: 1_000 },
  ],
  length: 2_170,
};

function tensors(initializer: Parameters<typeof initializeParameters>[2], seed = 1, which = layout): Record<string, number[]> {
  const vector = new Float32Array(which.length).fill(7);
  initializeParameters(vector, which, initializer, seed);
  return Object.fromEntries(which.entries.map(({ name, offset, length }) => [name, [...vector.subarray(offset, offset + length)]]));
}

test("Glorot uniform fills its limits as in Keras; gammas are 1, biases and betas 0", () => {
  const values = tensors({ kind: "glorotUniform" });
  expect(values["bn/beta"]).toEqual([0, 0, 0, 0]);
  expect(values["bn/gamma"]).toEqual([1, 1, 1, 1]);
  expect(values["head/output/bias"]).toEqual(new Array(10).fill(0));
  for (const [name, limit] of [
    ["head/output/kernel", Math.sqrt(6 / 110)],
    ["conv/kernel", Math.sqrt(6 / (9 * 24))],
  ] as const) {
    const kernel = values[name]!;
    expect(Math.max(...kernel)).toBeLessThanOrEqual(limit);
    expect(Math.max(...kernel)).toBeGreaterThan(0.98 * limit);
    expect(Math.min(...kernel)).toBeLessThan(-0.98 * limit);
    expect(Math.abs(kernel.reduce((sum, value) => sum + value, 0) / kernel.length)).toBeLessThan(0.1 * limit);
  }
});

test("truncated normal has its deviation, zeros are zeros", () => {
  const kernel = tensors({ kind: "truncatedNormal", stddev: 0.001 })["head/output/kernel"]!;
  expect(Math.max(...kernel.map(Math.abs))).toBeLessThanOrEqual(0.002);
  expect(Math.sqrt(kernel.reduce((sum, value) => sum + value * value, 0) / kernel.length)).toBeCloseTo(0.00088, 4);
  expect(tensors({ kind: "zeros" })["head/output/kernel"]).toEqual(new Array(1_000).fill(0));
});

test("a tensor keeps its numbers when others join, differs by seed and name, and can be left as it is", () => {
  const alone: ParameterLayout = { entries: [{ ...layout.entries[4]!, offset: 0 }], length: 1_000 };
  const kernel = tensors({ kind: "glorotUniform" })["head/output/kernel"];
  expect(tensors({ kind: "glorotUniform" }, 1, alone)["head/output/kernel"]).toEqual(kernel);
  expect(tensors({ kind: "glorotUniform" }, 2)["head/output/kernel"]).not.toEqual(kernel);
  const vector = new Float32Array(layout.length).fill(7);
  initializeParameters(vector, layout, { kind: "zeros" }, 1, (name) => name.startsWith("head/"));
  expect([...vector.subarray(0, 1_160)]).toEqual(new Array(1_160).fill(7));
  expect([...vector.subarray(1_160)]).toEqual(new Array(1_010).fill(0));
});
