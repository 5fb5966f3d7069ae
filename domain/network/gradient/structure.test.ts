import assert from "node:assert/strict";
import { test } from "vitest";
import { batchNorm, chain, conv, dense, flatten, globalAveragePool, graph, relu } from "../../../test/conformance/engine/layers.js";
import { networks } from "../../../test/conformance/engine/networks.js";
import { buildTopology } from "../catalog/catalog.js";
import { INPUT, type Network } from "../network.js";
import { differentiate } from "./differentiate.js";
import type { GradientProgram, PrimitiveKind } from "./program.js";

const modes = ["FROZEN", "BATCH"] as const;

function topology(name: string, size: number): Network {
  return buildTopology(name, { width: 1, size }).network;
}

function countsOf({ operations }: GradientProgram): Partial<Record<PrimitiveKind, number>> {
  const counts: Partial<Record<PrimitiveKind, number>> = {};
  for (const { primitive } of operations) counts[primitive.kind] = (counts[primitive.kind] ?? 0) + 1;
  return counts;
}

test("operands precede their use, the output's gradient divides forward and backward pass, and nothing is computed that nothing needs", () => {
  const large = [topology("mobilenet_v2", 96), topology("inception_v3", 75), topology("resnet18_v2", 64), topology("squeezenet_1.1", 64)];
  for (const network of [...networks, ...large]) {
    for (const batchNorm of modes) {
      const { operations, forward, output, gradients, moments } = differentiate(network, { batchNorm });
      const results = [output, ...gradients.values(), ...[...moments.values()].flatMap(({ mean, variance }) => [mean, variance])];
      const used = new Set(results.map(({ id }) => id));
      operations.forEach(({ operands, result, primitive, layer }, place) => {
        assert.equal(result.id, place);
        for (const operand of operands) {
          assert.ok(operand.id < place);
          assert.equal(operands.length > 0 && operations[operand.id]?.result, operand);
          used.add(operand.id);
        }
        assert.equal(primitive.kind === "outputGradient", place === forward, `${primitive.kind} of ${layer} at ${place}`);
      });
      const unused = operations.filter(({ result, primitive }) => !used.has(result.id) && primitive.kind !== "outputGradient");
      assert.deepEqual(unused, [], network.name);
    }
  }
});

test("MobileNetV2 with frozen batch norms: 52 convolutions with the batch norms in their kernels, and no pass over activations for them", () => {
  const program = differentiate(topology("mobilenet_v2", 224), { batchNorm: "FROZEN" });
  const { parameterProduct, parameterSum, negative, inverseRoot, scaleKernel, dotKernels, statistic, parameter, ...rest } =
    countsOf(program);
  assert.deepEqual(
    { parameterProduct, parameterSum, negative, inverseRoot, scaleKernel, dotKernels, statistic, parameter },
    // For each of 52: s, (0 - mean) x s, (0 - mean) x dbias', ds x inv; + beta, ds; -mean; kernel', dkernel; and their kernels, gammas and betas, means and variances.
    { parameterProduct: 208, parameterSum: 104, negative: 52, inverseRoot: 52, scaleKernel: 104, dotKernels: 52, statistic: 104, parameter: 156 }, // prettier-ignore
  );
  assert.deepEqual(rest, {
    features: 1,
    convolution: 52,
    relu6: 35,
    add: 20, // 10 residual additions, 10 sums of the gradients of what is added and goes on
    globalAveragePool: 1,
    outputGradient: 1,
    globalAveragePoolGradient: 1,
    relu6Gradient: 35,
    convolutionInputGradient: 51, // none of the picture
    convolutionKernelGradient: 52,
    sumOverRows: 52,
  });
  assert.equal(program.activations.get("Conv1"), program.activations.get("bn_Conv1"));
  assert.equal(program.moments.size, 0);
});

test("MobileNetV2 with statistics of the batch: for each batch norm sum, variance and scaling forward; sum, product, one pass and mask backward, and its factor in the kernels", () => {
  const program = differentiate(topology("mobilenet_v2", 224), { batchNorm: "BATCH" });
  const counts = countsOf(program);
  assert.equal(program.moments.size, 52);
  assert.deepEqual(
    (["sumOverRows", "varianceOverRows", "scaleChannels", "dotOverRows", "addScaled", "countedRows", "scaleKernel", "statistic"] as const).map((kind) => counts[kind] ?? 0), // prettier-ignore
    [104, 52, 66, 52, 52, 52, 75, 0],
  );
});

test("ResNet v2: batch norms after convolutions are folded, those after an addition, a pooling or the picture scale channels", () => {
  const counts = countsOf(differentiate(topology("resnet18_v2", 224), { batchNorm: "FROZEN" }));
  assert.deepEqual([counts.inverseRoot, counts.dotKernels, counts.scaleKernel], [19, 9, 18]);
  // 10 forward; 9 backward, for the first one stands on the picture, which needs no gradient.
  assert.deepEqual([counts.scaleChannels, counts.dotOverRows], [19, 9]);
});

test("a layer without parameters below it needs no gradient of its input, nor does any layer below", () => {
  const network = chain("below", [3, 3, 2], [relu, conv(2, [3, 3]), batchNorm, relu, globalAveragePool, dense(3)]);
  for (const mode of modes) {
    const counts = countsOf(differentiate(network, { batchNorm: mode }));
    assert.deepEqual([counts.relu, counts.reluGradient, counts.convolutionInputGradient], [2, 1, undefined]);
  }
});

test("the gradient of an activation that is used three times is the sum of three", () => {
  const network = graph(
    "three",
    [2, 2, 2],
    [
      ["a", [INPUT], conv(2, [1, 1])],
      ["b", ["a"], relu],
      ["c", ["a"], { kind: "sigmoid" }],
      ["all", ["a", "b", "c"], { kind: "concat" }],
      ["flat", ["all"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  );
  const { operations } = differentiate(network, { batchNorm: "FROZEN" });
  const sums = operations.filter(({ primitive }) => primitive.kind === "add");
  assert.deepEqual(sums.map(({ layer }) => layer), ["a", "a"]); // prettier-ignore
});

test("a branch that does not lead to the output is left out, but for the moments of its batch norms", () => {
  const network = graph(
    "side",
    [3, 3, 2],
    [
      ["a", [INPUT], conv(2, [1, 1])],
      ["side", ["a"], conv(2, [1, 1])],
      ["side_bn", ["side"], batchNorm],
      ["side_relu", ["side_bn"], relu],
      ["flat", ["a"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  );
  const frozen = differentiate(network, { batchNorm: "FROZEN" });
  assert.deepEqual([...frozen.activations.keys()], ["a", "flat", "logits"]);
  const batch = differentiate(network, { batchNorm: "BATCH" });
  assert.deepEqual([...batch.activations.keys()], ["a", "side", "flat", "logits"]);
  assert.deepEqual([...batch.moments.keys()], ["side_bn"]);
  for (const { gradients } of [frozen, batch]) assert.deepEqual([...gradients.keys()].sort(), ["a/kernel", "logits/bias", "logits/kernel"]);
});
