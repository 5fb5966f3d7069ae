import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { differentiate } from "../../../../domain/network/gradient/differentiate.js";
import type { GradientProgram } from "../../../../domain/network/gradient/program.js";
import { ModelProtoSchema } from "../../../../proto/gen/third_party/onnx/onnx_pb.js";
import { around, chain, conv, dense, flatten, relu } from "../../../../test/conformance/engine/layers.js";
import { lowerGradient } from "./lowered-graph.js";
import type { Lowering } from "./lowering.js";
import { portableLowering } from "./portable/portable.js";
import { type GraphOptions, Walk } from "./walk.js";

const options: GraphOptions = { grains: 4, grainRows: 3, loss: { kind: "softmax", labelSmoothing: 0 }, productColumns: 16 };

function nodesOf(model: Uint8Array): { readonly opType: string; readonly input: readonly string[]; readonly output: readonly string[] }[] {
  return fromBinary(ModelProtoSchema, model).graph?.node ?? [];
}

function inputsOf(model: Uint8Array): string[] {
  return (fromBinary(ModelProtoSchema, model).graph?.input ?? []).map(({ name }) => name);
}

const head = differentiate(chain("head", [4, 4, 2], [flatten, dense(3)]), { batchNorm: "FROZEN" });
const twoConvolutions = differentiate(
  chain("maps", [5, 5, 2], [conv(3, [3, 3], { padding: around(1), bias: true }), relu, conv(4, [1, 1], { bias: true }), flatten, dense(3)]),
  { batchNorm: "FROZEN" },
);

test("a value is brought into another layout once, whoever asks for it", () => {
  const conversions: string[] = [];
  const counting: Lowering = {
    ...portableLowering,
    convert(graph, value, name, rows, from, to) {
      conversions.push(`${value.id} ${name} ${from} ${to}`);
      return portableLowering.convert(graph, value, name, rows, from, to);
    },
  };
  lowerGradient(twoConvolutions, counting, options);
  expect(conversions.length).toBeGreaterThan(4);
  expect(new Set(conversions).size).toBe(conversions.length);
});

test("the parts of features are inputs, also behind a flatten: nothing is split", () => {
  const { model } = lowerGradient(head, portableLowering, options);
  expect(inputsOf(model)).toEqual(expect.arrayContaining(["features", "features/0", "features/1", "features/2", "features/3"]));
  const ofSplits = nodesOf(model).filter(({ opType }) => opType === "Split");
  expect(ofSplits.map(({ output }) => output.length)).toEqual([4]); // the upstream gradient
});

test("two neighbouring grains of a dense kernel are added in the product, pairs by Add; what is a stack is added outside", () => {
  const { model, gradients } = lowerGradient(head, portableLowering, options);
  const nodes = nodesOf(model);
  const products = nodes.filter(({ opType, input }) => opType === "Gemm" && input[0]?.includes("/"));
  expect(products.map(({ input }) => input.length)).toEqual([2, 3, 2, 3]);
  expect(nodes.filter(({ opType }) => opType === "Add")).toHaveLength(1);
  expect(gradients.map(({ tensor, isStack, dimensions }) => [tensor, isStack, dimensions])).toEqual([
    ["dense_1/kernel", false, [32, 3]],
    ["dense_1/bias", true, [4, 1, 3]],
  ]);
});

test("operations whose result another emitter has given are left out", () => {
  const joined: Lowering = {
    ...portableLowering,
    emitters: {
      ...portableLowering.emitters,
      convolution(walk, operation) {
        portableLowering.emitters.convolution(walk, operation);
        const [next] = walk.usesOf(operation.result);
        if (next?.primitive.kind === "relu" && !walk.leaves(operation.result))
          walk.give(next.result, "nchw", walk.graph.node("Relu", [walk.as(operation.result, "nchw")], {}, "joined"));
      },
    },
  };
  const relus = nodesOf(lowerGradient(twoConvolutions, joined, options).model).filter(({ opType }) => opType === "Relu");
  expect(relus.map(({ output }) => output[0])).toEqual(["joined"]);
});

test("a value that is another for each grain has no name for all of them", () => {
  const program: GradientProgram = head;
  const walk = new Walk(program, program.operations, [], portableLowering, options);
  walk.run(program.operations);
  const kernel = program.gradients.get("dense_1/kernel");
  expect(kernel && walk.isByGrain(kernel)).toBe(true);
  expect(() => kernel && walk.as(kernel, "plain")).toThrow(/is another for each grain/);
});

test("two parameters with one gradient have an output each", () => {
  const sum = differentiate(
    {
      name: "sum",
      inputShape: [4],
      layers: [
        { kind: "dense", units: 3, bias: true, name: "a", inputs: ["input"] },
        { kind: "dense", units: 3, bias: true, name: "b", inputs: ["input"] },
        { kind: "add", name: "logits", inputs: ["a", "b"] },
      ],
      output: "logits",
    },
    { batchNorm: "FROZEN" },
  );
  const outputs = lowerGradient(sum, portableLowering, options).gradients.map(({ output }) => output);
  expect(outputs).toHaveLength(4);
  expect(new Set(outputs).size).toBe(4);
});
