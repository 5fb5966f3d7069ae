import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError } from "../errors.js";
import { buildTopology } from "./catalog/catalog.js";
import { appendNetwork, headNetwork } from "./compose.js";
import { cutAt, legalCuts } from "./cut.js";
import { INPUT, type Network } from "./network.js";
import { layerShapes, weightSpecs } from "./shapes.js";

const { network: mobilenet } = buildTopology("mobilenet_v2", { width: 0.35, size: 96 });

function refused(cut: string, pattern: RegExp, network: Network = mobilenet): void {
  assert.throws(
    () => cutAt(network, cut),
    (error) => error instanceof CodedError && error.code === "CUT_ILLEGAL" && pattern.test(error.message),
  );
}

test("every legal cut divides the network, and both parts joined are the network again", () => {
  for (const { topology, width, size } of [
    { topology: "mobilenet_v2", width: 0.35, size: 96 },
    { topology: "inception_v3", width: 1, size: 75 },
    { topology: "squeezenet_1.1", width: 1, size: 64 },
  ]) {
    const { network } = buildTopology(topology, { width, size });
    const cuts = legalCuts(network);
    assert.equal(cuts.at(-1), network.output);
    for (const cut of cuts) {
      const { prefix, tail } = cutAt(network, cut);
      assert.equal(prefix.output, cut);
      const names = weightSpecs(prefix).map((spec) => spec.name);
      if (tail) {
        assert.deepEqual(tail.inputShape, layerShapes(network).get(cut));
        const joined = appendNetwork(prefix, tail);
        assert.deepEqual([...layerShapes(joined)].sort(), [...layerShapes(network)].sort());
        names.push(...weightSpecs(tail).map((spec) => spec.name));
      }
      assert.deepEqual(
        names.sort(),
        weightSpecs(network)
          .map((spec) => spec.name)
          .sort(),
      );
    }
    // No other layer is one: its output does not determine the network's.
    for (const { name } of network.layers) if (!cuts.includes(name)) assert.throws(() => cutAt(network, name), /CUT_ILLEGAL|other layers/);
  }
});

test("the cuts of published recipes", () => {
  const { prefix, tail } = cutAt(mobilenet, "block_15_add");
  assert.equal(tail?.layers[0]?.name, "block_16_expand");
  assert.deepEqual(tail?.layers[0]?.inputs, [INPUT]);
  assert.equal(prefix.layers.at(-1)?.name, "block_15_add");
  const { network: inception } = buildTopology("inception_v3", { width: 1, size: 150 });
  assert.deepEqual(cutAt(inception, "mixed7").tail?.inputShape, [7, 7, 768]);
  assert.deepEqual(
    legalCuts(inception).filter((name) => name.startsWith("mixed")),
    ["mixed0", "mixed1", "mixed2", "mixed3", "mixed4", "mixed5", "mixed6", "mixed7", "mixed8", "mixed9", "mixed10"],
  );
});

test("a cut at the output has no tail, and one at the input no layers below", () => {
  assert.equal(cutAt(mobilenet, "global_average_pool").tail, undefined);
  const { prefix, tail } = cutAt(mobilenet, INPUT);
  assert.deepEqual(prefix.layers, []);
  assert.deepEqual([...layerShapes(prefix)], [[INPUT, [96, 96, 3]]]);
  assert.equal(tail?.layers.length, mobilenet.layers.length);
});

test("an illegal cut and an unknown layer name the nearest legal ones", () => {
  refused("block_15_expand", /pass by it.*"block_14_add", "block_15_add"/);
  refused("block_15_ad", /no such layer; did you mean "block_15_add"/);
  refused("", /no such layer/);
});

test("a layer that leads nowhere is no cut and is left out", () => {
  const side: Network = { ...mobilenet, layers: [...mobilenet.layers, { name: "side", kind: "relu", inputs: ["Conv1"] }] };
  refused("side", /pass by it/, side);
  assert.ok(!legalCuts(side).includes("side"));
  assert.ok(cutAt(side, "out_relu").tail?.layers.every(({ name }) => name !== "side"));
});

test("a head on features and on a map of features", () => {
  const head = headNetwork(
    [7, 7, 8],
    [
      { kind: "dropout", rate: 0.2 },
      { kind: "dense", units: 16, activation: "RELU" },
      { kind: "dense", units: 4, activation: "NONE" },
    ],
    5,
  );
  assert.deepEqual(
    head.layers.map((layer) => layer.name),
    ["head/flatten", "head/dropout_1", "head/dense_1", "head/relu_1", "head/dense_2", "head/output"],
  );
  assert.deepEqual(layerShapes(head).get(head.output), [5]);
  assert.deepEqual(
    headNetwork([8], [], 1).layers.map((layer) => layer.name),
    ["head/output"],
  );
  assert.throws(() => headNetwork([8], [{ kind: "dense", units: 0, activation: "NONE" }], 2), /head\/dense_1/);
  assert.throws(() => headNetwork([8], [{ kind: "dropout", rate: 1 }], 2), /head\/dropout_1/);
});

test("networks are joined only where shapes and names fit", () => {
  const head = headNetwork([1280], [], 3);
  const whole = appendNetwork(mobilenet, head);
  assert.deepEqual(layerShapes(whole).get(whole.output), [3]);
  assert.equal(appendNetwork(undefined, head), head);
  assert.throws(() => appendNetwork(mobilenet, headNetwork([1281], [], 3)), /takes \[1281\].*global_average_pool.*\[1280\]/);
  assert.throws(() => appendNetwork(whole, headNetwork([3], [], 3)), /two layers are named "head\/output"/);
});
