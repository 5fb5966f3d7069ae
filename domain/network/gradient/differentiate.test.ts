import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { gradientInput } from "../../../test/conformance/engine/inputs.js";
import {
  around,
  batchNorm,
  chain,
  conv,
  dense,
  depthwise,
  flatten,
  graph,
  pool,
  relu,
  two,
} from "../../../test/conformance/engine/layers.js";
import { nameOf, trainableOf, trainables } from "../../../test/conformance/engine/networks.js";
import { agree, runOnGrain } from "../../../test/support/grain-program.js";
import { evaluateProgram } from "../../../test/support/reference-program.js";
import { referenceGradient, referenceSums } from "../../../test/support/reference-training.js";
import { parameterLayout } from "../../training/parameters.js";
import { foldableBatchNorms } from "../fold-batch-norm.js";
import { INPUT, type Network } from "../network.js";
import { differentiate } from "./differentiate.js";

const grainRows = 3;

/** What the engines' suite has not: batch norms that cannot be folded, and all that may stand below one that can. */
const batchNorms: readonly Network[] = [
  graph(
    "batchNorm after a pooling, a concat and a batchNorm",
    [6, 6, 2],
    [
      ["a", [INPUT], conv(3, [3, 3], { bias: true, padding: around(1) })],
      ["pooled", ["a"], pool("maxPool", [3, 3], { strides: two, padding: around(1) })],
      ["pooled_bn", ["pooled"], { ...batchNorm, center: false }],
      ["both", ["pooled_bn", "pooled"], { kind: "concat" }],
      ["both_bn", ["both"], batchNorm],
      ["again", ["both_bn"], { ...batchNorm, scale: false, center: false }],
      ["flat", ["again"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  ),
  graph(
    "batchNorm of a convolution that is used elsewhere",
    [3, 3, 2],
    [
      ["a", [INPUT], conv(2, [1, 1], { bias: true })],
      ["a_bn", ["a"], batchNorm],
      ["sum", ["a_bn", "a"], { kind: "add" }],
      ["flat", ["sum"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  ),
  chain("batchNorm of convolutions with biases", [5, 4, 2], [
    conv(3, [3, 3], { bias: true, strides: [1, 2], padding: around(1) }),
    { ...batchNorm, scale: false },
    depthwise([3, 3], { bias: true, padding: around(1) }),
    batchNorm,
    relu,
    depthwise([2, 2], { bias: true }),
    { ...batchNorm, center: false },
    flatten,
    dense(4, false),
    batchNorm,
    { kind: "sigmoid" },
    dense(3),
  ]), // prettier-ignore
  graph(
    "a branch with a batchNorm that does not lead to the output",
    [3, 3, 2],
    [
      ["a", [INPUT], conv(2, [1, 1])],
      ["side", ["a"], conv(2, [3, 3])],
      ["side_bn", ["side"], batchNorm],
      ["side_relu", ["side_bn"], relu],
      ["flat", ["a"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  ),
];

describe("every kind of layer, against finite differences of the reference network, in a grain whose last row is padding", () => {
  const more = batchNorms.flatMap((network) => [trainableOf(network), trainableOf(network, "BATCH")]);
  for (const trainable of [...trainables, ...more]) {
    test(nameOf(trainable), () => {
      const { network, batchNorm } = trainable;
      const grain = gradientInput(trainable, { grains: 1, grainRows }, 7);
      const program = differentiate(network, { batchNorm });
      const { gradients, activations, moments } = runOnGrain(program, trainable, grain, grainRows);

      const expected = referenceSums(trainable, grain, grainRows);
      const belowFolded = batchNorm === "FROZEN" ? [...foldableBatchNorms(network).values()] : [];
      for (const [layer, values] of activations) {
        if (belowFolded.includes(layer)) continue; // gives what the batch norm gives
        const rows = expected.activations.get(layer) ?? [];
        agree(`activation of ${layer}`, values, rows.flatMap((row) => [...row]), 1e-12); // prettier-ignore
      }
      const slopes = referenceGradient(trainable, grain, grainRows);
      for (const { name, offset, length } of parameterLayout(network).entries)
        agree(`gradient of ${name}`, gradients.get(name) ?? new Float64Array(length), slopes.subarray(offset, offset + length), 1e-7);
      const counted = grain.rowWeights.filter((weight) => weight > 0).length;
      agree("statistics", moments.map((value) => value * counted), expected.statistics, 1e-12); // prettier-ignore
    });
  }
});

test("of several largest values the first one, row by row, has the whole gradient", () => {
  const network = chain("ties", [2, 4, 1], [conv(1, [1, 1]), pool("maxPool", two, { strides: [1, 2] })]);
  const program = differentiate(network, { batchNorm: "FROZEN" });
  const values = evaluateProgram(program, {
    rows: 1,
    features: [3, 3, 5, 7, 3, 3, 7, 7],
    tensors: new Map([["conv2d_0/kernel", { data: [1] }]]),
    outputGradient: () => [2, 3],
  });
  const gradient = program.operations.find(({ primitive }) => primitive.kind === "maxPoolGradient");
  assert.deepEqual([...(values[gradient?.result.id ?? -1] ?? [])], [2, 0, 0, 3, 0, 0, 0, 0]);
});
