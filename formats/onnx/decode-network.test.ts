import assert from "node:assert/strict";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { beforeAll, describe, test } from "vitest";
import { buildTopology } from "../../domain/network/catalog/catalog.js";
import { elementCount } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { compileForward } from "../../platform/engine/onnx/forward.js";
import { loadRuntime, type Runtime } from "../../platform/engine/onnx/runtime.js";
import { madeUpWeights } from "../../test/golden/made-up-weights.js";
import { decodeOnnx } from "./decode-network.js";
import { encodeOnnx } from "./encode-network.js";
import { GraphBuilder, type Attribute } from "./graph-builder.js";

let runtime: Runtime;
beforeAll(async () => void (runtime = await loadRuntime()));

function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const side = 9;
const pixels = 3 * side * side;

/** A model of pictures [n, 3, 9, 9] out of nodes that `build` adds; it returns the output's name. */
function model(build: (graph: GraphBuilder, input: string) => string, dims: readonly (number | string)[]): Uint8Array {
  const graph = new GraphBuilder();
  const output = build(graph, graph.input("x", "float32", dims));
  graph.node("Identity", [output], {}, "y");
  graph.output("y", "float32", [1, "classes"]);
  return graph.encode("small");
}

/** Largest difference between onnxruntime on the model itself and the network that was read out of it, for values from -1 to 1 or `range` times that. */
async function difference(bytes: Uint8Array, dimensions: readonly number[]): Promise<number> {
  const decoded = decodeOnnx(bytes);
  const { inputShape } = decoded.network;
  const picture = numbers(pixels, 7);
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 3 });
  const [inputName = "", outputName = ""] = [session.inputNames[0], session.outputNames[0]];
  const results = await session.run({ [inputName]: new OrtTensor("float32", picture, dimensions) });
  const expected = results[outputName]?.data as Float32Array;
  await session.release();

  assert.equal(elementCount(inputShape), pixels);
  const turned = dimensions[3] === 3 ? picture : picture.map((_, i) => picture[(i % 3) * side * side + Math.floor(i / 3)]!);
  const { preprocessing: { mean = [0, 0, 0], deviation = [1, 1, 1], channels = "RGB" } = {}, unitRange } = decoded;
  const range = unitRange ? 255 : 1;
  const prepared = turned.map((_, i) => {
    const channel = i % 3;
    const from = channels === "BGR" ? i - channel + (2 - channel) : i;
    return (turned[from]! * range - mean[channel]!) / deviation[channel]!;
  });
  const forward = await compileForward(runtime, 1, decoded.network, decoded.tensors, { batch: 1 });
  const found = await forward.run(prepared, 1);
  await forward.release();
  assert.equal(found.length, expected.length);
  assert.ok(expected.some((value) => Math.abs(value) > 0.01));
  return found.reduce((largest, value, i) => Math.max(largest, Math.abs(value - expected[i]!)), 0);
}

const channelsFirst = [1, 3, side, side];

const floats = (graph: GraphBuilder, name: string, shape: readonly number[]): string =>
  graph.floats(name, shape, numbers(elementCount(shape), name.length + elementCount(shape)));
const conv = (
  graph: GraphBuilder,
  input: string,
  name: string,
  out: number,
  from: number,
  attributes: Record<string, Attribute> = {},
): string =>
  graph.node("Conv", [input, floats(graph, `${name}.weight`, [out, from, 3, 3]), floats(graph, `${name}.bias`, [out])], attributes, name);
const pool = (graph: GraphBuilder, input: string): string => graph.node("Flatten", [graph.node("GlobalAveragePool", [input])]);
const window = { kernel_shape: { ints: [3, 3] }, strides: { ints: [2, 2] } };

type Build = (graph: GraphBuilder, input: string) => string;

const readable: readonly (readonly [what: string, build: Build, dims?: readonly number[]])[] = [
  ["Conv without padding, strided", (g, x) => pool(g, conv(g, x, "conv", 4, 3, { strides: { ints: [2, 1] } }))],
  [
    "Conv, SAME_UPPER and SAME_LOWER on an even side",
    (g, x) => {
      const even = g.node("MaxPool", [x], { kernel_shape: { ints: [2, 2] } });
      const same = (name: string, auto: string): string =>
        conv(g, even, name, 4, 3, { auto_pad: { string: auto }, strides: { ints: [2, 2] } });
      return pool(g, g.node("Add", [same("upper", "SAME_UPPER"), same("lower", "SAME_LOWER")]));
    },
  ],
  [
    "Conv with one group for each channel",
    (g, x) => pool(g, conv(g, x, "conv", 3, 1, { group: { int: 3 }, pads: { ints: [1, 0, 1, 2] } })),
  ],
  [
    "BatchNormalization, Relu, Sigmoid",
    (g, x) => {
      const variance = g.floats("bn.running_var", [3], Float32Array.of(1, 2, 0.5));
      const normed = g.node(
        "BatchNormalization",
        [x, floats(g, "bn.weight", [3]), floats(g, "bn.bias", [3]), floats(g, "bn.running_mean", [3]), variance],
        { epsilon: { float: 1e-3 } },
      );
      return pool(g, g.node("Sigmoid", [g.node("Relu", [normed])]));
    },
  ],
  [
    "Clip from 0 to 6 and from 0 up",
    (g, x) => {
      const wide = g.node("Mul", [x, g.scalar(8)]);
      return pool(
        g,
        g.node("Clip", [conv(g, g.node("Clip", [conv(g, wide, "a", 4, 3), g.scalar(0), g.scalar(6)]), "b", 4, 4), g.scalar(0)]),
      );
    },
  ],
  ["MaxPool padded with negative values in it", (g, x) => pool(g, g.node("MaxPool", [x], { ...window, pads: { ints: [1, 1, 1, 1] } }))],
  [
    "MaxPool with ceil_mode",
    (g, x) =>
      pool(
        g,
        g.node("MaxPool", [conv(g, x, "a", 3, 3, { strides: { ints: [1, 1] }, pads: { ints: [0, 0, 1, 1] } })], {
          ...window,
          ceil_mode: { int: 1 },
        }),
      ),
  ],
  ["AveragePool, padding not counted", (g, x) => pool(g, g.node("AveragePool", [x], { ...window, pads: { ints: [1, 1, 1, 1] } }))],
  [
    "AveragePool, padding counted",
    (g, x) => pool(g, g.node("AveragePool", [x], { ...window, pads: { ints: [1, 1, 1, 1] }, count_include_pad: { int: 1 } })),
  ],
  [
    "Add and Concat",
    (g, x) => {
      const [a, b] = [conv(g, x, "a", 4, 3), conv(g, x, "b", 4, 3)];
      return pool(g, g.node("Concat", [g.node("Add", [a, b]), a], { axis: { int: 1 } }));
    },
  ],
  ["Pad", (g, x) => pool(g, conv(g, g.node("Pad", [x, g.integers([0, 0, 1, 0, 0, 0, 2, 1])]), "a", 4, 3))],
  [
    "Flatten with the channels first, Gemm transposed, Dropout, Gemm",
    (g, x) => {
      const flat = g.node("Flatten", [g.node("Relu", [conv(g, x, "a", 4, 3, { strides: { ints: [3, 2] } })])]);
      const hidden = g.node("Gemm", [g.node("Dropout", [flat]), floats(g, "fc1.weight", [5, 48]), floats(g, "fc1.bias", [5])], {
        transB: { int: 1 },
      });
      return g.node("Softmax", [g.node("Gemm", [hidden, floats(g, "fc2.weight", [5, 4]), floats(g, "fc2.bias", [4])])], {
        axis: { int: 1 },
      });
    },
  ],
  [
    "Reshape to a row, MatMul and a bias added",
    (g, x) => {
      const flat = g.node("Reshape", [conv(g, x, "a", 2, 3, { strides: { ints: [2, 2] } }), g.integers([-1, 32])]);
      return g.node("Add", [floats(g, "fc.bias", [6]), g.node("MatMul", [flat, floats(g, "fc.weight", [32, 6])])]);
    },
  ],
  [
    "MatMul with a transposed constant",
    (g, x) => {
      const matrix = g.node("Transpose", [floats(g, "fc.weight", [6, 3])], { perm: { ints: [1, 0] } });
      return g.node("MatMul", [pool(g, x), g.node("Identity", [matrix])]);
    },
  ],
  [
    "ReduceMean as a global pooling, 1x1 Conv behind it",
    (g, x) => {
      const mean = g.node("ReduceMean", [conv(g, x, "a", 4, 3)], { axes: { ints: [-2, -1] }, keepdims: { int: 1 } });
      const top = g.node("Conv", [mean, floats(g, "top.weight", [5, 4, 1, 1])]);
      return g.node("Reshape", [top, g.integers([0, -1])]);
    },
  ],
  [
    "nhwc pictures, turned, and a flatten in their order",
    (g, x) => {
      const turned = g.node("Transpose", [x], { perm: { ints: [0, 3, 1, 2] } }, "nhwc_to_nchw");
      const back = g.node("Transpose", [conv(g, turned, "a", 4, 3, { strides: { ints: [3, 3] } })], { perm: { ints: [0, 2, 3, 1] } });
      return g.node("MatMul", [g.node("Flatten", [back]), floats(g, "fc.weight", [36, 3])]);
    },
    [1, side, side, 3],
  ],
  [
    "pictures less a mean, by a deviation, for values from 0 to 1",
    (g, x) => {
      const centred = g.node("Sub", [x, g.floats("mean", [1, 3, 1, 1], Float32Array.of(0.485, 0.456, 0.406))]);
      return pool(g, conv(g, g.node("Div", [centred, g.floats("std", [3, 1, 1], Float32Array.of(0.229, 0.224, 0.225))]), "a", 4, 3));
    },
  ],
  [
    "pixels in reverse order, less a mean",
    (g, x) => {
      const turned = g.node("Gather", [x, g.integers([2, 1, 0])], { axis: { int: 1 } });
      return pool(
        g,
        conv(g, g.node("Add", [turned, g.floats("mean", [3, 1, 1], Float32Array.of(-103.939, -116.779, -123.68))]), "a", 4, 3),
      );
    },
  ],
];

for (const [what, build, dims = channelsFirst] of readable) {
  test(what, async () => {
    // Sums of up to 1,000 products, with pixels of 255.
    assert.ok((await difference(model(build, dims), dims)) < 2e-3);
  });
}

test("layers are named after their weights, else after their node", () => {
  const { network, tensors } = decodeOnnx(model((g, x) => pool(g, g.node("Relu", [conv(g, x, "layer1.0.conv1", 4, 3)])), channelsFirst));
  assert.deepEqual(
    network.layers.map(({ name }) => name),
    ["layer1.0.conv1", "Relu_0", "GlobalAveragePool_1"],
  );
  assert.deepEqual([...tensors.keys()], ["layer1.0.conv1/kernel", "layer1.0.conv1/bias"]);
});

describe("what graft exported is the same network again", () => {
  test.each([
    ["mobilenet_v2", 0.35, 96, undefined],
    ["squeezenet_1.1", 1, 64, undefined],
    ["resnet18_v1", 1, 64, 1000],
    ["vgg16", 1, 32, 10],
  ] as const)("%s", (topology, width, size, top) => {
    const { network, preprocessing } = buildTopology(topology, { width, size, top });
    const weights = madeUpWeights(network);
    const decoded = decodeOnnx(encodeOnnx(network, weights, { preprocessing, batch: "N", outputName: "y" }));
    // How a picture is made to fit is not in the graph.
    const stretched: Preprocessing = { ...preprocessing, resize: "STRETCH", resizeTo: size };
    assert.deepEqual(decoded.preprocessing, stretched);
    const plain = ({ layers }: typeof network): unknown => {
      const places = new Map(layers.map(({ name }, place) => [name, place]));
      return layers.map(({ name: _, inputs, ...kind }) => ({ ...kind, inputs: inputs.map((input) => places.get(input)) }));
    };
    assert.deepEqual(plain(decoded.network), plain(network));
    assert.deepEqual([...decoded.tensors.keys()], [...weights.keys()]);
    for (const [name, tensor] of weights) assert.deepEqual(decoded.tensors.get(name), tensor, name);
  });
});

const unreadable: readonly (readonly [what: string, message: RegExp, build: Build, dims?: readonly (number | string)[]])[] = [
  [
    "an operator that is not known",
    /node "node_Erf_0" \(Erf\): this operator is not supported; supported are Add, AveragePool/,
    (g, x) => pool(g, g.node("Erf", [x])),
  ],
  [
    "an operator of another domain",
    /\(FusedConv\): operators of the domain "com.microsoft" are not supported/,
    (g, x) => g.node("FusedConv", [x], {}, "f", "com.microsoft"),
  ],
  [
    "a product with a constant inside the network",
    /\(Mul\): this is only supported where pictures are prepared/,
    (g, x) => pool(g, g.node("Mul", [conv(g, x, "a", 4, 3), g.scalar(2)])),
  ],
  [
    "a bias that is none",
    /\(Add\): a constant can only be added to pictures, or as the bias/,
    (g, x) => pool(g, g.node("Add", [conv(g, x, "a", 4, 3), g.scalar(2)])),
  ],
  ["groups", /\(Conv\): 3 groups of 3 channels to 6 are not supported/, (g, x) => pool(g, conv(g, x, "a", 6, 1, { group: { int: 3 } }))],
  ["dilations", /dilations other than 1/, (g, x) => pool(g, conv(g, x, "a", 6, 3, { dilations: { ints: [2, 2] } }))],
  ["a clip to another range", /\(Clip\): only from 0 to 6/, (g, x) => pool(g, g.node("Clip", [x, g.scalar(-1), g.scalar(1)]))],
  [
    "weights that are computed",
    /\(Conv\): input 2 \("w"\) must be a constant/,
    (g, x) => pool(g, g.node("Conv", [x, g.node("Relu", [x], {}, "w")])),
  ],
  [
    "a dense layer on a map of features",
    /\(MatMul\): it needs a row, but its input is \[n, channels, height, width\]/,
    (g, x) => g.node("MatMul", [x, floats(g, "w", [9, 4])]),
  ],
  [
    "a flatten with the channels first at the end",
    /"y" is flattened with the channels first/,
    (g, x) => g.node("Flatten", [conv(g, x, "a", 4, 3)]),
  ],
  [
    "a picture used in two ways",
    /two different ways/,
    (g, x) => pool(g, g.node("Add", [g.node("Relu", [x]), g.node("Relu", [g.node("Mul", [x, g.scalar(2)])])])),
  ],
  ["an open size", /input "x" leaves the size of the pictures open; give one/, (g, x) => pool(g, x), [1, 3, "h", "w"]],
  ["no pictures", /must be pictures, \[n, 3, height, width\] or \[n, height, width, 3\], found \[1, 10\]/, (g, x) => x, [1, 10]],
  ["an input that nothing makes", /uses "nowhere", which no earlier node makes/, (g) => g.node("Relu", ["nowhere"])],
];

for (const [what, message, build, dims = channelsFirst] of unreadable) {
  test(`refused and named: ${what}`, () => {
    assert.throws(() => decodeOnnx(model(build, dims)), { name: "CodedError", message });
  });
}

test("a model that is cut off, or has its weights in another file, is refused", () => {
  const bytes = model((g, x) => pool(g, conv(g, x, "a", 4, 3)), channelsFirst);
  assert.throws(() => decodeOnnx(bytes.subarray(0, 200)), { code: "FILE_FORMAT_INVALID" });
});

test("an open size is the one given", () => {
  const open = model((g, x) => pool(g, x), ["n", 3, "h", "w"]);
  assert.deepEqual(decodeOnnx(open, 20).network.inputShape, [20, 20, 3]);
});
