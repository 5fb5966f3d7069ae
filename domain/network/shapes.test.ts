import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError } from "../errors.js";
import { buildTopology } from "./catalog/catalog.js";
import { noPadding } from "./catalog/same-padding.js";
import { INPUT, type Layer, type Network } from "./network.js";
import { layerShapes, multiplyAddsPerImage, parameterCount, weightSpecs } from "./shapes.js";

function network(...layers: readonly Layer[]): Network {
  return { name: "tiny", inputShape: [5, 5, 3], layers, output: layers.at(-1)?.name ?? INPUT };
}

const conv: Layer = {
  name: "conv",
  inputs: [INPUT],
  kind: "conv2d",
  filters: 4,
  kernel: [3, 3],
  strides: [2, 2],
  padding: noPadding,
  bias: true,
};
const pool: Layer = { name: "pool", inputs: ["conv"], kind: "globalAveragePool" };
const dense: Layer = { name: "dense", inputs: ["pool"], kind: "dense", units: 2, bias: false };

test("shapes, weights, counts and multiply-adds of a small network", () => {
  const net = network(
    conv,
    { name: "bn", inputs: ["conv"], kind: "batchNorm", epsilon: 1e-3, scale: false, center: true },
    { ...pool, inputs: ["bn"] },
    dense,
  );
  assert.deepEqual(
    [...layerShapes(net)],
    [
      [INPUT, [5, 5, 3]],
      ["conv", [2, 2, 4]],
      ["bn", [2, 2, 4]],
      ["pool", [4]],
      ["dense", [2]],
    ],
  );
  assert.deepEqual(
    weightSpecs(net).map(({ name, shape, trainable }) => [name, shape.join("x"), trainable]),
    [
      ["conv/kernel", "3x3x3x4", true],
      ["conv/bias", "4", true],
      ["bn/beta", "4", true],
      ["bn/moving_mean", "4", false],
      ["bn/moving_variance", "4", false],
      ["dense/kernel", "4x2", true],
    ],
  );
  assert.deepEqual(parameterCount(net), { total: 108 + 4 + 12 + 8, trainable: 108 + 4 + 4 + 8 });
  assert.equal(multiplyAddsPerImage(net), 2 * 2 * 4 * 27 + 8);
});

test("the published counts of MobileNetV2 1.0 and Inception v3", () => {
  const { network: mobilenet } = buildTopology("mobilenet_v2", { width: 1, size: 224 });
  assert.deepEqual(parameterCount(mobilenet), { total: 2_257_984, trainable: 2_223_872 });
  assert.equal(multiplyAddsPerImage(mobilenet), 299_494_272);
  const { network: inception } = buildTopology("inception_v3", { width: 1, size: 299 });
  assert.deepEqual(parameterCount(inception), { total: 21_802_784, trainable: 21_768_352 });
  const { network: whole } = buildTopology("inception_v3", { width: 1, size: 299, top: 1000 });
  assert.equal(parameterCount(whole).total, 23_851_784);
});

test("every fault of a network is refused and its layer named", () => {
  const refused = (net: Network, pattern: RegExp): void =>
    assert.throws(
      () => layerShapes(net),
      (error) => error instanceof CodedError && error.code === "NETWORK_INVALID" && pattern.test(error.message),
    );
  refused(network(conv, { ...pool, inputs: ["nothing"] }), /layer "pool".*its input "nothing" is no earlier layer/);
  refused(network(conv, conv), /two layers are named "conv"/);
  refused(network({ ...conv, name: INPUT }), /named "input"/);
  refused(network({ ...conv, name: "" }), /1 to 200 characters/);
  refused({ ...network(conv), output: "x" }, /output "x" is none/);
  refused({ ...network(conv), inputShape: [5, 0, 3] }, /input shape/);
  refused(network({ ...conv, kernel: [7, 7] }), /layer "conv".*larger than its padded input/);
  refused(network({ ...conv, strides: [0, 1] }), /layer "conv".*strides/);
  refused(network({ ...conv, filters: 1.5 }), /layer "conv".*filters/);
  refused(network({ ...conv, padding: { ...noPadding, left: 3 } }), /layer "conv".*smaller than the window/);
  refused(network({ ...conv, inputs: [INPUT, INPUT] }), /layer "conv".*one input, found 2/);
  refused(network({ ...dense, inputs: [INPUT] }), /layer "dense".*takes a vector/);
  refused(network(conv, pool, { ...pool, name: "again", inputs: ["pool"] }), /layer "again".*takes \[height/);
  refused(network(conv, { name: "sum", kind: "add", inputs: ["conv", INPUT] }), /layer "sum".*one shape/);
  refused(network(conv, { name: "sum", kind: "add", inputs: ["conv"] }), /layer "sum".*two or more/);
  refused(network(conv, { name: "cat", kind: "concat", inputs: ["conv", INPUT] }), /layer "cat".*differ in channels only/);
  refused(network({ name: "drop", kind: "dropout", rate: 1, inputs: [INPUT] }), /layer "drop".*rate/);
  refused(network({ name: "odd", kind: "lambda", inputs: [INPUT] } as unknown as Layer), /layer "odd".*not known/);
  refused(
    { ...network({ ...conv, kernel: [1, 1], strides: [1, 1], filters: 1 << 20 }), inputShape: [4096, 4096, 3] },
    /layer "conv".*more than/,
  );
});
