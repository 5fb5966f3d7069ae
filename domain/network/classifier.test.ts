import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError, type ErrorCode } from "../errors.js";
import type { Backbone } from "./backbone.js";
import { buildTopology } from "./catalog/catalog.js";
import { belowDenseLayers, checkLabels, classifierOf, classifierRow, withoutClassifier } from "./classifier.js";
import { appendNetwork, headNetwork } from "./compose.js";
import { INPUT, type LayerKind, type Network, type Shape } from "./network.js";
import { noPadding } from "./catalog/same-padding.js";

/** Layers named after their place in a chain: `conv2d0`, `flatten1`, … */
function chain(inputShape: Shape, ...kinds: readonly LayerKind[]): Network {
  const names = kinds.map(({ kind }, index) => `${kind}${index}`);
  const layers = kinds.map((kind, index) => ({ ...kind, name: names[index]!, inputs: [names[index - 1] ?? INPUT] }));
  return { name: "chain", inputShape, layers, output: names.at(-1) ?? INPUT };
}

const pointwise = (filters: number): LayerKind => ({
  kind: "conv2d",
  filters,
  kernel: [1, 1],
  strides: [1, 1],
  padding: noPadding,
  bias: true,
});
const dense = (units: number): LayerKind => ({ kind: "dense", units, bias: true });
const dropout: LayerKind = { kind: "dropout", rate: 0.5 };
const flatten: LayerKind = { kind: "flatten" };
const pooled: LayerKind = { kind: "globalAveragePool" };
const softmax: LayerKind = { kind: "softmax" };
const mean: LayerKind = { kind: "averagePool", size: [4, 4], strides: [1, 1], padding: noPadding };

function refused(code: ErrorCode, pattern: RegExp, action: () => unknown): void {
  assert.throws(action, (error) => error instanceof CodedError && error.code === code && pattern.test(error.message));
}

test("the classifier is the last dense layer, or pointwise convolution of one pixel, that only a change of shape or scale follows", () => {
  const found = (network: Network): unknown => classifierOf(network);
  assert.deepEqual(found(chain([4, 4, 8], pooled, dropout, dense(5), softmax)), {
    layer: "dense2",
    input: "globalAveragePool0",
    classes: 5,
  });
  assert.deepEqual(found(chain([4, 4, 8], { kind: "relu" }, flatten, dense(7), { kind: "relu" }, dropout, dense(1), { kind: "sigmoid" })), {
    layer: "dense5",
    input: "relu3",
    classes: 1,
  });
  // The flatten belongs to the classifier: what it weighs is the map below.
  assert.deepEqual(found(chain([4, 4, 8], { kind: "relu" }, flatten, dense(2))), { layer: "dense2", input: "relu0", classes: 2 });
  assert.deepEqual(found(chain([4, 4, 8], mean, dropout, pointwise(6), flatten, softmax)), {
    layer: "conv2d2",
    input: "averagePool0",
    classes: 6,
  });
  // Of one pixel, pooling only takes away two axes.
  assert.deepEqual(found(chain([4, 4, 8], mean, pointwise(6), pooled)), { layer: "conv2d1", input: "averagePool0", classes: 6 });
  assert.deepEqual(found(chain([8], dense(3))), { layer: "dense0", input: INPUT, classes: 3 });
});

test("a network that ends otherwise has no classifier", () => {
  assert.equal(classifierOf(chain([4, 4, 8], pooled)), undefined);
  assert.equal(classifierOf(chain([4, 4, 8], pooled, dense(3), { kind: "relu" })), undefined);
  // A class for every pixel, averaged: no row of a kernel weighs the feature.
  assert.equal(classifierOf(chain([4, 4, 8], pointwise(6), pooled, softmax)), undefined);
  assert.equal(classifierOf(buildTopology("squeezenet_1.1", { width: 1, size: 64 }).network), undefined);
});

test("what is below the classifier, or below all dense layers, is left without it", () => {
  const { network } = buildTopology("vgg16", { width: 1, size: 32, top: 1000 });
  assert.deepEqual(classifierOf(network), { layer: "predictions", input: "fc2_relu", classes: 1000 });
  assert.equal(withoutClassifier(network, "fc2_relu").layers.at(-1)?.name, "fc2_relu");
  assert.equal(belowDenseLayers(network), "block5_pool");
  assert.equal(withoutClassifier(network, network.output), network);
  refused("CUT_ILLEGAL", /"block_2_expand": other layers of .* pass by it/, () =>
    withoutClassifier(buildTopology("mobilenet_v2", { width: 0.35, size: 96, top: 1001 }).network, "block_2_expand"),
  );
  const bare = buildTopology("mobilenet_v2", { width: 0.35, size: 96 }).network;
  assert.equal(belowDenseLayers(bare), "global_average_pool");
  assert.equal(belowDenseLayers(appendNetwork(bare, headNetwork([1280], [{ kind: "dropout", rate: 0.2 }], 3))), "global_average_pool");
});

test("every topology of the catalogue with a top ends in a classifier on its feature", () => {
  for (const [topology, input, size] of [
    ["mobilenet_v2", "global_average_pool", 96],
    ["mobilenet_v1_folded", "global_average_pool", 96],
    ["resnet18_v1", "global_average_pool", 64],
    ["resnet50_v2", "global_average_pool", 64],
  ] as const) {
    const classifier = classifierOf(buildTopology(topology, { width: 1, size, top: 1000 }).network);
    assert.deepEqual([classifier?.input, classifier?.classes], [input, 1000], topology);
  }
});

function threeClasses(labels?: readonly string[]): Pick<Backbone, "name" | "network" | "weights" | "labels"> {
  const weights = new Map([
    ["dense1/kernel", { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }],
    ["dense1/bias", { shape: [3], data: Float32Array.of(0.1, 0.2, 0.3) }],
  ]);
  return { name: "small", network: chain([4, 4, 2], pooled, dense(3)), weights, ...(labels && { labels }) };
}

test("a class's row is the column of the kernel and the bias, found under any of its names", () => {
  const backbone = threeClasses(["background", "Hot Dog, hotdog, red hot", "bald_eagle"]);
  const row = { kernel: Float32Array.of(2, 5), bias: Math.fround(0.2), index: 1, classes: 3 };
  for (const name of ["hotdog", "hot dog", "HOT-DOG", " red__hot ", "hot dog, hotdog, red hot"])
    assert.deepEqual(classifierRow(backbone, name), row);
  assert.deepEqual(classifierRow(backbone, "bald eagle"), { kernel: Float32Array.of(3, 6), bias: Math.fround(0.3), index: 2, classes: 3 });

  // A label that is exactly the name goes before one that has it among its synonyms.
  assert.equal(classifierRow(threeClasses(["maillot", "maillot, tank suit", "c"]), "maillot").index, 0);
  assert.equal(classifierRow(threeClasses(["maillot", "maillot, tank suit", "c"]), "tank suit").index, 1);
});

test("a pointwise convolution has the same rows; a layer without bias has 0; one output stands for its second class and, turned round, its first", () => {
  const network = chain([4, 4, 2], mean, { ...pointwise(3), bias: false } as LayerKind);
  const weights = new Map([["conv2d1/kernel", { shape: [1, 1, 2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }]]);
  const labels = ["a", "b", "c"];
  assert.deepEqual(classifierRow({ name: "n", network, weights, labels }, "c"), {
    kernel: Float32Array.of(3, 6),
    bias: 0,
    index: 2,
    classes: 3,
  });

  const single = {
    name: "n",
    network: chain([4, 4, 2], pooled, dense(1), { kind: "sigmoid" }),
    weights: new Map([
      ["dense1/kernel", { shape: [2, 1], data: Float32Array.of(7, -8) }],
      ["dense1/bias", { shape: [1], data: Float32Array.of(0.5) }],
    ]),
    labels: ["cat", "dog"],
  };
  assert.deepEqual(classifierRow(single, "dog"), { kernel: Float32Array.of(7, -8), bias: 0.5, index: 1, classes: 1 });
  assert.deepEqual(classifierRow(single, "cat"), { kernel: Float32Array.of(-7, 8), bias: -0.5, index: 0, classes: 1 });
});

test("what has no such row is refused and the remedy named", () => {
  const bare = { ...threeClasses(), network: chain([4, 4, 2], pooled) };
  refused("SPEC_INVALID", /backbone small has no classifier of its own.*with --labels/, () => classifierRow(bare, "a"));
  refused("SPEC_INVALID", /does not say how its 3 outputs are called; add the backbone with --labels/, () =>
    classifierRow(threeClasses(), "a"),
  );
  refused("SPEC_INVALID", /class "daysy": backbone small has no such class among its 3; did you mean "daisy", "dais", "crane"\?/, () =>
    classifierRow(threeClasses(["crane", "dais", "daisy"]), "daysy"),
  );
  refused("SPEC_INVALID", /has 2 classes of that name \(lines of its labels: 1 "crane", 3 "Crane"\)/, () =>
    classifierRow(threeClasses(["crane", "daisy", "Crane"]), "crane"),
  );
  refused("WEIGHTS_INVALID", /classes do not match: layer "dense1" of chain tells 3 classes apart, found 4 labels/, () =>
    classifierRow(threeClasses(["a", "b", "c", "d"]), "a"),
  );
  refused("WEIGHTS_INVALID", /found 2 labels.*its first class is the background/, () => checkLabels(threeClasses().network, ["a", "b"]));
  refused("WEIGHTS_INVALID", /ends in "globalAveragePool0", which is no classifier/, () => checkLabels(bare.network, ["a"]));
});
