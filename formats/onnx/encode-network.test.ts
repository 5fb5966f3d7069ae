import { fromBinary } from "@bufbuild/protobuf";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { INPUT, type Layer, type Network, type Weights } from "../../domain/network/network.js";
import { scaledToOne, type Preprocessing } from "../../domain/network/preprocessing.js";
import { ModelProtoSchema } from "../../proto/gen/third_party/onnx/onnx_pb.js";
import { referenceForward } from "../../test/support/reference-network.js";
import { encodeOnnx } from "./encode-network.js";

const layers: Layer[] = [
  {
    kind: "conv2d",
    name: "conv",
    inputs: [INPUT],
    filters: 3,
    kernel: [3, 3],
    strides: [2, 2],
    padding: { top: 0, bottom: 1, left: 0, right: 1 },
    bias: true,
  },
  { kind: "relu6", name: "relu", inputs: ["conv"] },
  { kind: "flatten", name: "flat", inputs: ["relu"] },
  { kind: "dense", name: "logits", inputs: ["flat"], units: 4, bias: true },
  { kind: "softmax", name: "softmax", inputs: ["logits"] },
];
const network: Network = { name: "tiny", inputShape: [4, 4, 3], layers, output: "softmax" };
const weights: Weights = new Map(
  [
    { name: "conv/kernel", shape: [3, 3, 3, 3] },
    { name: "conv/bias", shape: [3] },
    { name: "logits/kernel", shape: [12, 4] },
    { name: "logits/bias", shape: [4] },
  ].map(({ name, shape }, n) => [
    name,
    { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => (((i * 29 + n * 7) % 17) - 8) / 16) },
  ]),
);
const preprocessing: Preprocessing = { size: 4, resize: "STRETCH", resizeTo: 4, ...scaledToOne };

test("the exported model takes any number of pictures and gives probabilities", async () => {
  const model = encodeOnnx(network, weights, { preprocessing, batch: "N", outputName: "probabilities", metadata: { labels: "a,b,c,d" } });
  const session = await InferenceSession.create(model);
  expect(session.inputMetadata).toMatchObject([{ name: "images", type: "uint8", shape: ["N", 4, 4, 3] }]);
  expect(session.outputMetadata).toMatchObject([{ name: "probabilities", type: "float32", shape: ["N", 4] }]);
  for (const rows of [1, 2, 5]) {
    const pixels = Uint8Array.from({ length: rows * 48 }, (_, i) => (i * 97) % 256);
    const results = await session.run({ images: new Tensor("uint8", pixels, [rows, 4, 4, 3]) });
    const found = results["probabilities"]?.data as Float32Array;
    const expected = Array.from({ length: rows }, (_, row) => {
      const values = Array.from(pixels.subarray(row * 48, (row + 1) * 48), (pixel) => (pixel - 127.5) / 127.5);
      return [...referenceForward(network, weights, values)];
    }).flat();
    expect(found.length).toBe(expected.length);
    expected.forEach((value, i) => expect(Math.abs((found[i] as number) - value)).toBeLessThan(1e-6));
  }
});

test("only operators of the default domain are used, and the same call gives the same bytes", () => {
  const encode = (): Uint8Array =>
    encodeOnnx(network, weights, { preprocessing, batch: "N", outputName: "probabilities", metadata: { b: "2", a: "1" } });
  const model = fromBinary(ModelProtoSchema, encode());
  expect(model.opsetImport.map(({ domain, version }) => [domain, version])).toEqual([["", 17n]]);
  expect(new Set(model.graph?.node.map((node) => node.domain))).toEqual(new Set([""]));
  expect(model.metadataProps.map(({ key, value }) => `${key}=${value}`)).toEqual(["a=1", "b=2"]);
  expect(encode()).toEqual(encode());
});

test("a missing or misshaped tensor is named", () => {
  const without = new Map([...weights].filter(([name]) => name !== "conv/bias"));
  const message = expect.stringContaining("conv/bias must have the shape [3], found none") as string;
  expect(() => encodeOnnx(network, without, { batch: 1, outputName: "y" })).toThrow(
    expect.objectContaining({ code: "WEIGHTS_INVALID", message }) as Error,
  );
  const wrong = new Map(weights).set("logits/bias", { shape: [5], data: new Float32Array(5) });
  expect(() => encodeOnnx(network, wrong, { batch: 1, outputName: "y" })).toThrow(/logits\/bias must have the shape \[4\], found \[5\]/);
});

test("a network of another size than the preprocessing's is refused", () => {
  expect(() => encodeOnnx(network, weights, { preprocessing: { ...preprocessing, size: 8 }, batch: 1, outputName: "y" })).toThrow(
    /gives \[8, 8, 3\]/,
  );
});
