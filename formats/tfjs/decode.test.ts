import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError, type ErrorCode } from "../../domain/errors.js";
import { layerShapes, weightSpecs } from "../../domain/network/shapes.js";
import { decodeLayersModel, layersModelPaths } from "./decode.js";

type Json = Record<string, unknown>;

function layer(className: string, name: string, config: Json, ...inputs: readonly string[]): Json {
  return {
    class_name: className,
    name,
    config: { name, ...config },
    inbound_nodes: inputs.length === 0 ? [] : [inputs.map((input) => [input, 0, 0, {}])],
  };
}

const inputLayer = layer("InputLayer", "input_1", { batch_input_shape: [null, 8, 8, 3] });

function functional(output: string, ...layers: readonly Json[]): Json {
  return {
    class_name: "Model",
    config: { name: "m", layers: [inputLayer, ...layers], input_layers: [["input_1", 0, 0]], output_layers: [[output, 0, 0]] },
  };
}

function modelJson(topology: unknown, weightsManifest: unknown = []): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ modelTopology: topology, weightsManifest }));
}

function layersOf(topology: Json, size?: number): string[] {
  return decodeLayersModel(modelJson(topology), new Map(), size).model.network.layers.map(
    (one) => `${one.name}:${one.kind}<${one.inputs.join(",")}`,
  );
}

function refused(
  code: ErrorCode,
  pattern: RegExp,
  topology: unknown,
  manifest: unknown = [],
  shards = new Map<string, Uint8Array>(),
): void {
  assert.throws(
    () => decodeLayersModel(modelJson(topology, manifest), shards),
    (error) => error instanceof CodedError && error.code === code && pattern.test(error.message),
  );
}

test("activations become layers of their own, linear ones vanish, and the order of the file does not matter", () => {
  const conv = layer(
    "Conv2D",
    "conv",
    { filters: 4, kernel_size: [3, 3], strides: [2, 2], padding: "same", activation: "relu" },
    "input_1",
  );
  const linear = layer("Activation", "linear", { activation: "linear" }, "conv");
  const sum = layer("Add", "sum", {}, "linear", "conv");
  const pool = layer("GlobalAveragePooling2D", "pool", {}, "sum");
  const dense = layer("Dense", "dense", { units: 2, activation: "softmax" }, "pool");
  const topology = functional("dense", dense, sum, pool, linear, conv);
  assert.deepEqual(layersOf(topology), [
    "conv:conv2d<input",
    "conv_relu:relu<conv",
    "sum:add<conv_relu,conv_relu",
    "pool:globalAveragePool<sum",
    "dense:dense<pool",
    "dense_softmax:softmax<dense",
  ]);
  const { network } = decodeLayersModel(modelJson({ model_config: topology }), new Map()).model;
  assert.deepEqual(layerShapes(network).get("conv"), [4, 4, 4]);
  assert.deepEqual(network.layers[0]?.kind === "conv2d" && network.layers[0].padding, { top: 0, bottom: 1, left: 0, right: 1 });
  assert.deepEqual(
    weightSpecs(network).map(({ name }) => name),
    ["conv/kernel", "conv/bias", "dense/kernel", "dense/bias"],
  );
});

test("sequential models, models inside models, open sizes, and the nodes of Keras 3", () => {
  const inner = functional("relu", layer("ReLU", "relu", { max_value: 6 }, "input_1"));
  const first = layer("ZeroPadding2D", "pad", {
    padding: [
      [0, 1],
      [2, 3],
    ],
    batch_input_shape: [null, null, null, 3],
  });
  const sequential = {
    class_name: "Sequential",
    config: { name: "s", layers: [first, { ...inner, name: "inner" }, { class_name: "Flatten", config: { name: "flat" } }] },
  };
  assert.deepEqual(layersOf(sequential, 5), ["pad:zeroPad<input", "relu:relu6<pad", "flat:flatten<relu"]);
  refused("NETWORK_INVALID", /leaves the size of the pictures open/, sequential);

  const outer = {
    class_name: "Sequential",
    config: [
      { ...inner, name: "inner" },
      { class_name: "Flatten", config: { name: "flat" } },
    ],
  };
  assert.deepEqual(layersOf(outer), ["relu:relu6<input", "flat:flatten<relu"]);

  const tensor = (name: string): Json => ({
    class_name: "__keras_tensor__",
    config: { shape: [null, 8, 8, 3], keras_history: [name, 0, 0] },
  });
  const keras3 = {
    class_name: "Functional",
    config: {
      name: "k3",
      layers: [
        { class_name: "InputLayer", name: "x", config: { batch_shape: [null, 8, 8, 3], name: "x" }, inbound_nodes: [] },
        { class_name: "ReLU", name: "r", config: { name: "r", max_value: 6.0 }, inbound_nodes: [{ args: [tensor("x")], kwargs: {} }] },
        { class_name: "Add", name: "a", config: { name: "a" }, inbound_nodes: [{ args: [[tensor("x"), tensor("r")]], kwargs: {} }] },
      ],
      input_layers: [["x", 0, 0]],
      output_layers: [["a", 0, 0]],
    },
  };
  assert.deepEqual(layersOf(keras3), ["r:relu6<input", "a:add<input,r"]);
});

test("a top of pointwise convolutions on one pixel is read as dense layers, as in Keras's MobileNetV1", () => {
  const top = functional(
    "act_softmax",
    layer("GlobalAveragePooling2D", "pool", { keepdims: true }, "input_1"),
    layer("Dropout", "dropout", { rate: 0.001 }, "pool"),
    layer("Conv2D", "conv_preds", { filters: 5, kernel_size: [1, 1], padding: "same" }, "dropout"),
    layer("Reshape", "reshape_2", { target_shape: [5] }, "conv_preds"),
    layer("Activation", "act_softmax", { activation: "softmax" }, "reshape_2"),
  );
  assert.deepEqual(layersOf(top), [
    "pool:globalAveragePool<input",
    "dropout:dropout<pool",
    "conv_preds:dense<dropout",
    "act_softmax:softmax<conv_preds",
  ]);
  const wide = layer("Conv2D", "x", { filters: 5, kernel_size: [3, 3], padding: "same" }, "pool");
  refused(
    "NETWORK_INVALID",
    /layer "x" \(conv2d\)/,
    functional("x", layer("GlobalAveragePooling2D", "pool", { keepdims: true }, "input_1"), wide),
  );
});

test("a Rescaling layer at the start is read as preparation of the picture, anywhere else it is refused", () => {
  const rescaling = layer("Rescaling", "rescaling", { scale: 0.5, offset: -1 }, "input_1");
  const topology = functional("relu", rescaling, layer("ReLU", "relu", {}, "rescaling"));
  const { model } = decodeLayersModel(modelJson(topology), new Map());
  assert.deepEqual(model.rescaling, { scale: 0.5, offset: -1 });
  assert.equal(model.network.layers.length, 1);
  refused(
    "NETWORK_INVALID",
    /layer "late" \(Rescaling\)/,
    functional("late", layer("ReLU", "relu", {}, "input_1"), layer("Rescaling", "late", { scale: 1 }, "relu")),
  );
});

test("what cannot be expressed is refused and its layer named", () => {
  const one = (className: string, config: Json): Json => functional("x", layer(className, "x", config, "input_1"));
  refused("NETWORK_INVALID", /layer "x" \(LSTM\).*not supported/, one("LSTM", {}));
  refused("NETWORK_INVALID", /layer "x".*dilation_rate \[2,2\]/, one("Conv2D", { filters: 1, kernel_size: 3, dilation_rate: [2, 2] }));
  refused(
    "NETWORK_INVALID",
    /layer "x".*data_format "channels_first"/,
    one("Conv2D", { filters: 1, kernel_size: 3, data_format: "channels_first" }),
  );
  refused("NETWORK_INVALID", /layer "x".*depth_multiplier 2/, one("DepthwiseConv2D", { kernel_size: 3, depth_multiplier: 2 }));
  refused("NETWORK_INVALID", /layer "x".*activation "tanh"/, one("Activation", { activation: "tanh" }));
  refused("NETWORK_INVALID", /layer "x".*max_value 5/, one("ReLU", { max_value: 5 }));
  refused("NETWORK_INVALID", /layer "x".*axis 1/, one("BatchNormalization", { axis: 1 }));
  refused(
    "NETWORK_INVALID",
    /layer "x" \(Reshape\): only a vector can be reshaped, found \[8, 8, 3\]/,
    one("Reshape", { target_shape: [192] }),
  );
  refused("FILE_FORMAT_INVALID", /layer "x".*filters must be a whole number/, one("Conv2D", { filters: "8", kernel_size: 3 }));
  refused("NETWORK_INVALID", /layer "x".*takes a vector/, one("Dense", { units: 3 }));
  const shared = { ...layer("ReLU", "x", {}, "input_1"), inbound_nodes: [[["input_1", 0, 0, {}]], [["input_1", 0, 0, {}]]] };
  refused("NETWORK_INVALID", /layer "x" is used 2 times/, functional("x", shared));
  refused(
    "NETWORK_INVALID",
    /"a", "b" wait|"a", "b"|wait for inputs/,
    functional("a", layer("ReLU", "a", {}, "b"), layer("ReLU", "b", {}, "a")),
  );
  refused("NETWORK_INVALID", /output layer "x" does not exist/, functional("x"));
  refused(
    "NETWORK_INVALID",
    /two layers are named "x"/,
    functional("x", layer("ReLU", "x", {}, "input_1"), layer("ReLU", "x", {}, "input_1")),
  );
  refused("FILE_FORMAT_INVALID", /GraphModel/, { node: [] });
  let deep: Json = functional("x", layer("ReLU", "x", {}, "input_1"));
  for (let depth = 0; depth < 20; depth++) deep = { class_name: "Sequential", config: { layers: [deep] } };
  refused("NETWORK_INVALID", /more than 8 models inside models/, deep);
});

const relu = functional("x", layer("ReLU", "x", {}, "input_1"));

test("float32, uint8, uint16 and float16 weights over several shards", () => {
  const floats = new Uint8Array(Float32Array.of(1.5, -2).buffer);
  const rest = Uint8Array.of(0, 255, 1, 0, 0xff, 0xff, 0x00, 0x3c);
  const body = Buffer.concat([floats, rest]);
  const manifest = [
    {
      paths: ["a.bin", "sub/b.bin"],
      weights: [
        { name: "f", shape: [2], dtype: "float32" },
        { name: "u8", shape: [2], dtype: "float32", quantization: { dtype: "uint8", scale: 0.1, min: -3 } },
        { name: "u16", shape: [2], dtype: "float32", quantization: { dtype: "uint16", scale: 0.5, min: 1 } },
        { name: "f16", shape: [1], dtype: "float32", quantization: { dtype: "float16" } },
      ],
    },
  ];
  const json = modelJson(relu, manifest);
  assert.deepEqual(layersModelPaths(json), ["a.bin", "sub/b.bin"]);
  const { tensors } = decodeLayersModel(
    json,
    new Map([
      ["a.bin", body.subarray(0, 5)],
      ["sub/b.bin", body.subarray(5)],
    ]),
  );
  assert.deepEqual(tensors.get("f")?.data, Float32Array.of(1.5, -2));
  assert.deepEqual(tensors.get("u8")?.data, Float32Array.of(-3, 255 * 0.1 - 3));
  assert.deepEqual(tensors.get("u16")?.data, Float32Array.of(1.5, 65535 * 0.5 + 1));
  assert.deepEqual(tensors.get("f16")?.data, Float32Array.of(1));
});

test("weights that lie about themselves are refused", () => {
  const shards = new Map([["a.bin", new Uint8Array(8)]]);
  const manifest = (...weights: readonly Json[]): unknown => [{ paths: ["a.bin"], weights }];
  const weight = { name: "w", shape: [2], dtype: "float32" };
  refused("FILE_FORMAT_INVALID", /names the weight file "a.bin", which is not there/, relu, manifest(weight));
  refused("FILE_FORMAT_INVALID", /"w" \[3\] needs 12 bytes at 0, but its files have 8/, relu, manifest({ ...weight, shape: [3] }), shards);
  refused("FILE_FORMAT_INVALID", /describes 4 bytes, found 8/, relu, manifest({ ...weight, shape: [1] }), shards);
  refused("FILE_FORMAT_INVALID", /dtype must be float32, found int32/, relu, manifest({ ...weight, dtype: "int32" }), shards);
  refused(
    "FILE_FORMAT_INVALID",
    /stored as .*found constructor/,
    relu,
    manifest({ ...weight, quantization: { dtype: "constructor" } }),
    shards,
  );
  refused("FILE_FORMAT_INVALID", /shape\[0\] must be a whole number/, relu, manifest({ ...weight, shape: [-2] }), shards);
  refused("FILE_FORMAT_INVALID", /two weights are named "w"/, relu, manifest({ ...weight, shape: [1] }, { ...weight, shape: [1] }), shards);
  for (const path of ["../a.bin", "/etc/passwd", "a/../../b", "a\\b", ""])
    refused("FILE_FORMAT_INVALID", /a plain name beside model.json/, relu, [{ paths: [path], weights: [] }]);
  assert.throws(() => decodeLayersModel(Buffer.from("{"), new Map()), /model.json is no JSON/);
});
