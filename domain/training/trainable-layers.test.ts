import { expect, test } from "vitest";
import { CodedError } from "../errors.js";
import { cutAt } from "../network/cut.js";
import { INPUT, type Layer, type LayerKind, type Network } from "../network/network.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { checkTrainable, enginesThatTrain, trainingEngine } from "./trainable-layers.js";

const { network } = buildTopology("mobilenet_v2", { width: 0.35, size: 96, top: undefined });
test("a cut at the output leaves nothing above it to refuse", () => {
  expect(() => check(network, "global_average_pool")).not.toThrow();
});

test("a convolution above the cut is refused, and the earliest cut that can be trained is named", () => {
  const refusal = refusalOf("block_15_add");
  expect(refusal).toMatchObject({ code: "ENGINE_UNSUPPORTED", details: { layer: "block_16_expand", earliest: "global_average_pool" } });
  expect(refusal.message).toBe(
    `cut "block_15_add": the layers of ${network.name} above it are trained, and engine onnx cannot train layer "block_16_expand" (conv2d); use engine tensorflow (trainers.engine, --engine), or choose a cut at or after "global_average_pool"`,
  );
});

test("dense layers above the cut are no obstacle", () => {
  const withDense = {
    ...network,
    layers: [
      ...network.layers,
      { kind: "dense" as const, name: "hidden", units: 8, bias: true, inputs: ["global_average_pool"] as [string] },
      { kind: "relu" as const, name: "hidden_relu", inputs: ["hidden"] as [string] },
    ],
    output: "hidden_relu",
  };
  expect(() => check(withDense, "global_average_pool")).not.toThrow();
  expect(() => check(withDense, "block_15_add")).toThrow(/at or after "global_average_pool"/);
});

const window = { strides: [1, 1], padding: { top: 0, bottom: 0, left: 0, right: 0 } } as const;
const kinds: readonly (readonly [onnx: boolean, LayerKind])[] = [
  [true, { kind: "dense", units: 3, bias: true }],
  [true, { kind: "relu" }],
  [true, { kind: "relu6" }],
  [true, { kind: "sigmoid" }],
  [true, { kind: "dropout", rate: 0.5 }],
  [true, { kind: "flatten" }],
  [false, { kind: "conv2d", filters: 2, kernel: [1, 1], bias: true, ...window }],
  [false, { kind: "depthwiseConv2d", kernel: [1, 1], bias: true, ...window }],
  [false, { kind: "batchNorm", epsilon: 1e-3, scale: true, center: true }],
  [false, { kind: "maxPool", size: [1, 1], ...window }],
  [false, { kind: "averagePool", size: [1, 1], ...window }],
  [false, { kind: "globalAveragePool" }],
  [false, { kind: "zeroPad", padding: window.padding }],
  [false, { kind: "softmax" }],
];
test.each(kinds.map(([onnx, kind]) => ({ ...kind, onnx })))(
  "$kind is trained by onnx: $onnx; by tensorflow always",
  ({ onnx, ...kind }) => {
    const tail = networkOf([{ ...kind, name: "layer", inputs: [INPUT] }]);
    expect(enginesThatTrain({ tail, pixels: false })).toEqual(onnx ? ["onnx", "tensorflow"] : ["tensorflow"]);
  },
);

test.each(["add", "concat"] as const)("%s is trained by tensorflow only", (kind) => {
  const tail = networkOf([
    { kind: "relu", name: "a", inputs: [INPUT] },
    { kind, name: "sum", inputs: ["a", "a"] },
  ]);
  expect(enginesThatTrain({ tail, pixels: false })).toEqual(["tensorflow"]);
});

test("a chain that branches and pixels are refused by the name of the layer", () => {
  const branches = networkOf([
    { kind: "relu", name: "a", inputs: [INPUT] },
    { kind: "relu", name: "aside", inputs: ["a"] },
    { kind: "sigmoid", name: "b", inputs: ["a"] },
  ]);
  expect(() => checkTrainable("onnx", { tail: branches, pixels: false, cut: INPUT, network: branches })).toThrow(
    /layer "b" \(sigmoid\), which does not take the layer before it; use engine tensorflow/,
  );
  const flat = networkOf([{ kind: "flatten", name: "flat", inputs: [INPUT] }]);
  expect(() => checkTrainable("onnx", { tail: flat, pixels: false, cut: INPUT, network: flat })).not.toThrow();
  expect(() => checkTrainable("onnx", { tail: flat, pixels: true, cut: INPUT, network: flat })).toThrow(
    /layer "flat" \(flatten\), which takes pixels; use engine tensorflow .*choose a cut at or after "flat"/,
  );
});

test("a depthwise convolution whose strides differ is trained by no engine, and only a later cut is proposed", () => {
  const tail = networkOf([
    { kind: "depthwiseConv2d", name: "narrow", kernel: [1, 1], bias: true, ...window, strides: [1, 2], inputs: [INPUT] },
    { kind: "flatten", name: "flat", inputs: ["narrow"] },
  ]);
  expect(enginesThatTrain({ tail, pixels: false })).toEqual([]);
  expect(() => checkTrainable("tensorflow", { tail, pixels: false, cut: INPUT, network: tail })).toThrow(
    /engine tensorflow cannot train layer "narrow" \(depthwiseConv2d\), whose strides differ; choose a cut at or after "narrow"/,
  );
});

test("the engine is the wanted one, or the first that can train everything above the cut", () => {
  const atOutput = { tail: undefined, pixels: false };
  const below = { tail: cutAt(network, "block_15_add").tail, pixels: false };
  expect([trainingEngine(undefined, atOutput), trainingEngine(undefined, below)]).toEqual(["onnx", "tensorflow"]);
  expect([trainingEngine("tensorflow", atOutput), trainingEngine("onnx", below)]).toEqual(["tensorflow", "onnx"]);
});

test("tensorflow trains anything, and an engine that is not known is left to what opens engines", () => {
  const part = { tail: cutAt(network, INPUT).tail, pixels: true, cut: INPUT, network };
  expect(() => checkTrainable("tensorflow", part)).not.toThrow();
  expect(() => checkTrainable("torch", part)).not.toThrow();
});

function networkOf(layers: Layer[]): Network {
  return { name: "tail", inputShape: [2, 2, 1], layers, output: layers.at(-1)?.name ?? INPUT };
}

function check(of: Network, cut: string): void {
  checkTrainable("onnx", { network: of, cut, tail: cutAt(of, cut).tail, pixels: cut === INPUT });
}

function refusalOf(cut: string): CodedError {
  try {
    check(network, cut);
  } catch (error) {
    if (error instanceof CodedError) return error;
  }
  throw new Error(`cut ${cut} was not refused`);
}
