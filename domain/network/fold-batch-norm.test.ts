import assert from "node:assert/strict";
import { test } from "vitest";
import { buildTopology } from "./catalog/catalog.js";
import { noPadding } from "./catalog/same-padding.js";
import { foldBatchNorm } from "./fold-batch-norm.js";
import { elementCount, INPUT, type Layer, type Network, type Tensor } from "./network.js";
import { weightSpecs } from "./shapes.js";

/** Tensors of plain numbers that depend on name and position; variances positive. */
function weightsFor(network: Network): Map<string, Tensor> {
  return new Map(
    weightSpecs(network).map(({ name, shape }) => {
      const data = Float32Array.from({ length: elementCount(shape) }, (_, index) => ((index * 7 + name.length * 3) % 11) / 5 - 1);
      return [name, { shape, data: name.endsWith("variance") ? data.map((value) => value + 1.1) : data }];
    }),
  );
}

function valueOf(weights: ReadonlyMap<string, Tensor>, name: string, index: number): number {
  const value = weights.get(name)?.data[index];
  assert.ok(value !== undefined, `${name}[${index}]`);
  return value;
}

const norm: Layer = { name: "norm", inputs: ["dense"], kind: "batchNorm", epsilon: 1e-3, scale: true, center: true };
const dense: Layer = { name: "dense", inputs: [INPUT], kind: "dense", units: 3, bias: true };
const small: Network = { name: "small", inputShape: [2], layers: [dense, norm], output: "norm" };

test("a folded dense layer gives what dense and batch norm give", () => {
  const weights = weightsFor(small);
  const folded = foldBatchNorm(small, weights);
  assert.deepEqual(folded.network.layers, [{ ...dense, bias: true }]);
  assert.equal(folded.network.output, "dense");
  assert.deepEqual([...folded.weights.keys()].sort(), ["dense/bias", "dense/kernel"]);

  const input = [0.3, -1.7];
  for (let unit = 0; unit < 3; unit++) {
    const sum = (from: ReadonlyMap<string, Tensor>): number =>
      input.reduce((total, x, row) => total + x * valueOf(from, "dense/kernel", row * 3 + unit), valueOf(from, "dense/bias", unit));
    const scale = valueOf(weights, "norm/gamma", unit) / Math.sqrt(valueOf(weights, "norm/moving_variance", unit) + 1e-3);
    const expected = (sum(weights) - valueOf(weights, "norm/moving_mean", unit)) * scale + valueOf(weights, "norm/beta", unit);
    assert.ok(Math.abs(sum(folded.weights) - expected) < 1e-5, `unit ${unit}: ${sum(folded.weights)}, expected ${expected}`);
  }
});

test("a depthwise kernel is scaled by channel", () => {
  const depthwise: Layer = {
    name: "dw",
    inputs: [INPUT],
    kind: "depthwiseConv2d",
    kernel: [1, 1],
    strides: [1, 1],
    padding: noPadding,
    bias: false,
  };
  const network: Network = { name: "dw", inputShape: [1, 1, 3], layers: [depthwise, { ...norm, inputs: ["dw"] }], output: "norm" };
  const weights = weightsFor(network);
  const folded = foldBatchNorm(network, weights).weights;
  for (let channel = 0; channel < 3; channel++) {
    const scale = valueOf(weights, "norm/gamma", channel) / Math.sqrt(valueOf(weights, "norm/moving_variance", channel) + 1e-3);
    assert.equal(valueOf(folded, "dw/depthwise_kernel", channel), Math.fround(valueOf(weights, "dw/depthwise_kernel", channel) * scale));
    const bias = valueOf(weights, "norm/beta", channel) - valueOf(weights, "norm/moving_mean", channel) * scale;
    assert.ok(Math.abs(valueOf(folded, "dw/bias", channel) - bias) < 1e-6);
  }
});

test("a batch norm whose convolution is used elsewhere, or that follows something else, stays", () => {
  const relu: Layer = { name: "relu", inputs: ["dense"], kind: "relu" };
  const sum: Layer = { name: "sum", inputs: ["norm", "relu"], kind: "add" };
  const branching: Network = { name: "branching", inputShape: [2], layers: [dense, norm, relu, sum], output: "sum" };
  const weights = weightsFor(branching);
  assert.deepEqual(foldBatchNorm(branching, weights), { network: branching, weights });
  const leaving: Network = { ...small, output: "dense" };
  assert.equal(foldBatchNorm(leaving, weightsFor(leaving)).network.layers.length, 2);
  const after: Network = { ...small, layers: [dense, relu, { ...norm, inputs: ["relu"] }] };
  assert.equal(foldBatchNorm(after, weightsFor(after)).network.layers.length, 3);
});

test("no batch norm is left in the catalogue's networks, and the weights are those of the folded network", () => {
  for (const [topology, width, size] of [
    ["mobilenet_v2", 0.35, 96] as const,
    ["inception_v3", 1, 75] as const,
    ["mobilenet_v1", 0.25, 96] as const,
  ]) {
    const { network } = buildTopology(topology, { width, size });
    const folded = foldBatchNorm(network, weightsFor(network));
    assert.ok(folded.network.layers.every(({ kind }) => kind !== "batchNorm"));
    assert.deepEqual(
      [...folded.weights.keys()].sort(),
      weightSpecs(folded.network)
        .map(({ name }) => name)
        .sort(),
    );
  }
});

test("missing tensors and negative variances are refused", () => {
  const weights = weightsFor(small);
  assert.throws(() => foldBatchNorm(small, new Map([...weights].filter(([name]) => name !== "norm/beta"))), /"norm\/beta" is missing/);
  weights.set("norm/moving_variance", { shape: [3], data: Float32Array.of(1, -1, 1) });
  assert.throws(() => foldBatchNorm(small, weights), /norm\/moving_variance must be at least 0, found -1 at position 1/);
});
