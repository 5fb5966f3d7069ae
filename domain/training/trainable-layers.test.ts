import { expect, test } from "vitest";
import { CodedError } from "../errors.js";
import { cutAt } from "../network/cut.js";
import { INPUT, type Layer, type Network } from "../network/network.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { checkTrainable, enginesThatTrain, trainingEngine } from "./trainable-layers.js";

const { network } = buildTopology("mobilenet_v2", { width: 0.35, size: 96, top: undefined });
const window = { strides: [1, 1], padding: { top: 0, bottom: 0, left: 0, right: 0 } } as const;
const narrow: Layer = { kind: "depthwiseConv2d", name: "narrow", kernel: [1, 1], bias: true, ...window, strides: [1, 2], inputs: [INPUT] };

test.each(["onnx", "tensorflow"] as const)("%s trains anything at any cut, and pixels", (engine) => {
  for (const cut of [INPUT, "block_15_add", "global_average_pool"])
    expect(() => checkTrainable(engine, { network, cut, tail: cutAt(network, cut).tail, pixels: cut === INPUT })).not.toThrow();
});

test("an engine that is not known is left to what opens engines", () => {
  expect(() => checkTrainable("torch", { tail: cutAt(network, INPUT).tail, pixels: true, cut: INPUT, network })).not.toThrow();
});

test("a depthwise convolution whose strides differ is refused by tensorflow: with its name, an engine that trains it, and the earliest cut that it can train", () => {
  const tail = networkOf([narrow, { kind: "flatten", name: "flat", inputs: ["narrow"] }]);
  expect(enginesThatTrain({ tail, pixels: false })).toEqual(["onnx"]);
  const refusal = refusalOf(() => checkTrainable("tensorflow", { tail, pixels: false, cut: INPUT, network: tail }));
  expect(refusal).toMatchObject({
    code: "ENGINE_UNSUPPORTED",
    details: { layer: "narrow", cut: INPUT, earliest: "narrow", engines: ["onnx"] },
  });
  expect(refusal.message).toBe(
    'cut "input": the layers of tail above it are trained, and engine tensorflow cannot train layer "narrow" (depthwiseConv2d), whose strides differ; use engine onnx (trainers.engine, --engine), or choose a cut at or after "narrow"',
  );
});

test("the engine is the wanted one, or the first that can train everything above the cut", () => {
  const part = { tail: cutAt(network, "block_15_add").tail, pixels: false };
  expect(trainingEngine(undefined, part)).toBe("onnx");
  expect(trainingEngine("tensorflow", part)).toBe("tensorflow");
  expect(trainingEngine("tensorflow", { tail: networkOf([narrow]), pixels: false })).toBe("tensorflow");
});

function networkOf(layers: Layer[]): Network {
  return { name: "tail", inputShape: [2, 2, 1], layers, output: layers.at(-1)?.name ?? INPUT };
}

function refusalOf(check: () => void): CodedError {
  try {
    check();
  } catch (error) {
    if (error instanceof CodedError) return error;
  }
  throw new Error("nothing was refused");
}
