import assert from "node:assert/strict";
import { beforeAll, describe, test } from "vitest";
import {
  elementCount,
  INPUT,
  type LayerKind,
  type Network,
  type Padding,
  type Tensor,
  type Weights,
} from "../../domain/network/network.js";
import { scaledToOne, type Preprocessing } from "../../domain/network/preprocessing.js";
import { samePadding } from "../../domain/network/catalog/same-padding.js";
import { layerShapes, weightSpecs } from "../../domain/network/shapes.js";
import { compileForward } from "../../platform/engine/onnx/forward.js";
import { loadRuntime, type Runtime } from "../../platform/engine/onnx/runtime.js";
import { loadTfjsModel, predictTfjs } from "../../test/support/tfjs.js";
import { importBackbone } from "../backbone/import-backbone.js";
import { encodeTfjs, type EncodeTfjsOptions } from "./encode.js";

let runtime: Runtime;
beforeAll(async () => void (runtime = await loadRuntime()));

/** A chain of layers named by their number; `inputs` default to the layer before. */
function chain(inputShape: readonly number[], layers: readonly (LayerKind & { inputs?: readonly string[] })[]): Network {
  const named = layers.map((layer, i) => ({ inputs: [i === 0 ? INPUT : `layer/${i - 1}`], ...layer, name: `layer/${i}` }));
  return { name: "small", inputShape, layers: named, output: `layer/${layers.length - 1}` };
}

/** The same numbers on every run, from -0.5 to 0.5. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

function weightsFor(network: Network): Map<string, Tensor> {
  return new Map(
    weightSpecs(network).map(({ name, shape }, i) => {
      const data = numbers(elementCount(shape), i + 1);
      return [name, { shape, data: name.endsWith("moving_variance") ? data.map((x) => x + 1) : data }];
    }),
  );
}

const options: EncodeTfjsOptions = { labels: ["a", "b"], version: "0.0.0" };

/** Largest difference between the exported model in TensorFlow.js and the network in onnxruntime, over two rows. */
async function difference(network: Network, preprocessing?: Preprocessing): Promise<number> {
  const weights = weightsFor(network);
  const files = encodeTfjs(network, weights, { ...options, ...(preprocessing && { preprocessing }) });
  const count = 2 * elementCount(network.inputShape);
  const input = preprocessing ? Uint8Array.from(numbers(count, 99), (x) => (x + 0.5) * 256) : numbers(count, 99);

  const model = await loadTfjsModel((file) => files.get(file) as Uint8Array);
  const exported = predictTfjs(model, 2, input);
  model.dispose();
  const forward = await compileForward(runtime, 1, network, weights, { batch: 2, ...(preprocessing && { preprocessing }) });
  const expected = await forward.run(input, 2);
  await forward.release();

  assert.equal(exported.length, expected.length);
  assert.ok(expected.some((x) => x !== 0 && x !== expected[0]));
  return exported.reduce((worst, x, i) => Math.max(worst, Math.abs(x - (expected[i] as number))), 0);
}

const geometry = { size: 8, resize: "STRETCH", resizeTo: 8 } as const;
const none: Padding = { top: 0, bottom: 0, left: 0, right: 0 };
const odd: Padding = { top: 1, bottom: 0, left: 0, right: 1 };
const conv = (padding: Padding, stride = 1): LayerKind => ({
  kind: "conv2d",
  filters: 4,
  kernel: [3, 3],
  strides: [stride, stride],
  padding,
  bias: true,
});

describe("encodeTfjs gives what the onnx engine gives", () => {
  const cases: readonly (readonly [string, Network])[] = [
    ["conv2d, VALID", chain([7, 6, 3], [conv(none)])],
    ["conv2d, SAME with stride 2", chain([8, 7, 3], [conv(samePadding([8, 7], [3, 3], [2, 2]), 2)])],
    ["conv2d, another padding, as in PyTorch's networks", chain([8, 8, 3], [conv({ top: 1, bottom: 1, left: 1, right: 1 }, 2)])],
    ["conv2d without bias, padding on two sides", chain([7, 6, 3], [{ ...conv(odd), bias: false } as LayerKind])],
    ["depthwiseConv2d", chain([8, 8, 3], [{ kind: "depthwiseConv2d", kernel: [3, 3], strides: [2, 2], padding: odd, bias: true }])],
    [
      "depthwiseConv2d, SAME",
      chain(
        [8, 8, 3],
        [{ kind: "depthwiseConv2d", kernel: [3, 3], strides: [2, 2], padding: samePadding([8, 8], [3, 3], [2, 2]), bias: false }],
      ),
    ],
    ["batchNorm", chain([5, 5, 3], [{ kind: "batchNorm", epsilon: 1e-3, scale: true, center: true }])],
    [
      "batchNorm after conv2d, without scale",
      chain([5, 5, 3], [conv(none), { kind: "batchNorm", epsilon: 1e-2, scale: false, center: true }]),
    ],
    ["batchNorm without offset", chain([4], [{ kind: "batchNorm", epsilon: 1e-3, scale: true, center: false }])],
    [
      "relu, relu6, sigmoid",
      chain(
        [6],
        [
          { kind: "relu" },
          { kind: "dense", units: 5, bias: true },
          { kind: "relu6" },
          { kind: "dense", units: 5, bias: false },
          { kind: "sigmoid" },
        ],
      ),
    ],
    ["softmax", chain([6], [{ kind: "dense", units: 5, bias: true }, { kind: "softmax" }])],
    [
      "add and concat",
      chain(
        [6],
        [{ kind: "relu" }, { kind: "add", inputs: ["layer/0", INPUT] }, { kind: "concat", inputs: ["layer/1", "layer/0", INPUT] }],
      ),
    ],
    ["concat of channels", chain([3, 3, 2], [conv(none), { kind: "concat", inputs: ["layer/0", "layer/0"] }])],
    [
      "maxPool, SAME on negative values",
      chain([5, 5, 2], [{ kind: "maxPool", size: [3, 3], strides: [2, 2], padding: samePadding([5, 5], [3, 3], [2, 2]) }]),
    ],
    [
      "maxPool, another padding after relu",
      chain(
        [6, 6, 2],
        [{ kind: "relu" }, { kind: "maxPool", size: [3, 3], strides: [2, 2], padding: { top: 1, bottom: 1, left: 1, right: 1 } }],
      ),
    ],
    [
      "averagePool, SAME",
      chain([5, 5, 2], [{ kind: "averagePool", size: [3, 3], strides: [1, 1], padding: samePadding([5, 5], [3, 3], [1, 1]) }]),
    ],
    ["globalAveragePool, dropout", chain([5, 4, 3], [{ kind: "globalAveragePool" }, { kind: "dropout", rate: 0.5 }])],
    ["zeroPad, flatten", chain([2, 3, 2], [{ kind: "zeroPad", padding: odd }, { kind: "flatten" }])],
  ];
  test.each(cases)("%s", async (_name, network) => {
    assert.ok((await difference(network)) < 1e-5);
  });

  const network = chain([8, 8, 3], [conv(samePadding([8, 8], [3, 3], [1, 1])), { kind: "globalAveragePool" }]);
  const normalisations: readonly (readonly [string, Preprocessing])[] = [
    ["x / 127.5 - 1", { ...geometry, ...scaledToOne }],
    ["per channel", { ...geometry, channels: "RGB", mean: [123.675, 116.28, 103.53], deviation: [58.395, 57.12, 57.375] }],
    ["BGR", { ...geometry, channels: "BGR", mean: [103.939, 116.779, 123.68], deviation: [1, 1, 1] }],
  ];
  test.each(normalisations)("pixels, %s", async (_name, preprocessing) => {
    // Activations of up to 255 times the weights: 1e-4 of the largest.
    assert.ok((await difference(network, preprocessing)) < 255 * 1e-5);
  });
});

describe("model.json", () => {
  test("says what the outputs are and how a picture is made to fit", () => {
    const network = chain([8, 8, 3], [conv(none)]);
    const preprocessing: Preprocessing = { size: 8, resize: "SHORT_SIDE", resizeTo: 10, ...scaledToOne };
    const files = encodeTfjs(network, weightsFor(network), { ...options, preprocessing });
    const model = JSON.parse(new TextDecoder().decode(files.get("model.json"))) as {
      format: string;
      userDefinedMetadata: Record<string, unknown>;
    };
    assert.equal(model.format, "layers-model");
    const { input, ...metadata } = model.userDefinedMetadata;
    assert.match(String(input), /RGB pixels from 0 to 255/);
    assert.deepEqual(metadata, {
      labels: ["a", "b"],
      preprocessing: { size: 8, resize: "SHORT_SIDE", resizeTo: 10, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] },
    });
  });

  test("weights are cut into files of 4 MiB that its manifest names", async () => {
    const network = chain([1100], [{ kind: "dense", units: 1100, bias: true }]);
    const files = encodeTfjs(network, weightsFor(network), options);
    assert.deepEqual([...files.keys()], ["model.json", "group1-shard1of2.bin", "group1-shard2of2.bin"]);
    assert.equal(files.get("group1-shard1of2.bin")?.length, 4 * 1024 * 1024);
    assert.ok((await difference(network)) < 1e-4);
  });

  test("names that the network takes are left to it", async () => {
    const network: Network = {
      name: "small",
      inputShape: [8, 8, 3],
      layers: [
        { name: "images", inputs: [INPUT], kind: "relu" },
        { name: "preprocessing", inputs: ["images"], ...conv(odd) },
        { name: "preprocessing_pad", inputs: ["preprocessing"], kind: "relu" },
      ],
      output: "preprocessing_pad",
    };
    assert.equal(layerShapes(network).get("preprocessing_pad")?.length, 3);
    assert.ok((await difference(network, { size: 8, resize: "STRETCH", resizeTo: 8, ...scaledToOne })) < 1e-4);
  });
});

describe("an exported model", () => {
  const bgr: Preprocessing = { ...geometry, channels: "BGR", mean: [103.939, 116.779, 123.68], deviation: [2, 3, 4] };
  test.each([bgr, { ...geometry, ...scaledToOne }])("can be a backbone again: $channels", async (preprocessing) => {
    const network = chain(
      [8, 8, 3],
      [conv(odd), { kind: "batchNorm", epsilon: 1e-3, scale: true, center: true }, { kind: "globalAveragePool" }],
    );
    const weights = weightsFor(network);
    const backbone = await importBackbone({ name: "again", files: encodeTfjs(network, weights, { ...options, preprocessing }) });

    const pixels = Uint8Array.from(numbers(8 * 8 * 3, 5), (x) => (x + 0.5) * 256);
    const features = async (of: Network, values: Weights, prepared: Preprocessing): Promise<Float32Array> => {
      const forward = await compileForward(runtime, 1, of, values, { batch: 1, preprocessing: prepared });
      const result = await forward.run(pixels, 1);
      await forward.release();
      return result;
    };
    const expected = await features(network, weights, preprocessing);
    const found = await features(backbone.network, backbone.weights, backbone.preprocessing);
    assert.ok(expected.some((x) => Math.abs(x) > 0.1));
    for (const [i, x] of found.entries()) assert.ok(Math.abs(x - (expected[i] as number)) < 1e-4, `${x} ${expected[i]}`);
  });
});

describe("encodeTfjs refuses", () => {
  test("a missing or misshaped tensor", () => {
    const network = chain([6], [{ kind: "dense", units: 5, bias: true }]);
    const weights = weightsFor(network);
    weights.set("layer/0/bias", { shape: [4], data: new Float32Array(4) });
    assert.throws(() => encodeTfjs(network, weights, options), { code: "WEIGHTS_INVALID", message: /layer\/0\/bias.*\[5\].*\[4\]/ });
    weights.delete("layer/0/kernel");
    assert.throws(() => encodeTfjs(network, weights, options), { code: "WEIGHTS_INVALID", message: /layer\/0\/kernel/ });
  });

  test("a pooling whose padding Keras cannot express", () => {
    const pool = { size: [3, 3], strides: [2, 2], padding: { top: 1, bottom: 1, left: 1, right: 1 } } as const;
    for (const kind of ["maxPool", "averagePool"] as const) {
      const network = chain([6, 6, 2], [{ kind, ...pool }]);
      assert.throws(() => encodeTfjs(network, new Map(), options), { code: "NETWORK_INVALID", message: /layer\/0/ });
    }
  });
});
