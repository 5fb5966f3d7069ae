import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError } from "../errors.js";
import { assignWeights } from "./assign-weights.js";
import { buildTopology } from "./catalog/catalog.js";
import { nameMapsFor, plainNames } from "./name-maps.js";
import { elementCount, type Tensor } from "./network.js";
import { weightSpecs } from "./shapes.js";

const { network } = buildTopology("squeezenet_1.1", { width: 1, size: 64 });

function exact(): Map<string, Tensor> {
  return new Map(weightSpecs(network).map(({ name, shape }) => [name, { shape, data: new Float32Array(elementCount(shape)) }]));
}

function problemsOf(tensors: ReadonlyMap<string, Tensor>): string {
  try {
    assignWeights(network, tensors, plainNames);
  } catch (error) {
    assert.ok(error instanceof CodedError && error.code === "WEIGHTS_INVALID");
    return error.message;
  }
  return "";
}

test("exact tensors are taken, whatever their order", () => {
  assert.equal(assignWeights(network, new Map([...exact()].reverse()), plainNames).size, 50);
});

test("every missing, surplus, misshaped and non-finite tensor is named, with expected and found shape", () => {
  const tensors = exact();
  tensors.delete("conv1/bias");
  tensors.set("conv9/kernel", { shape: [1, 2], data: new Float32Array(2) });
  tensors.set("fire2/expand3x3/kernel", { shape: [3, 3, 64, 16], data: new Float32Array(9216) });
  tensors.set("fire3/squeeze1x1/bias", { shape: [16], data: new Float32Array(16).fill(NaN, 3) });
  const message = problemsOf(tensors);
  assert.match(message, /4 of its tensors are wrong/);
  assert.match(message, /missing: conv1\/bias \[64\]/);
  assert.match(message, /surplus: "conv9\/kernel" \[1, 2\]/);
  assert.match(message, /misshaped: fire2\/expand3x3\/kernel must be \[3, 3, 16, 64\], found \[3, 3, 64, 16\]/);
  assert.match(message, /not finite: fire3\/squeeze1x1\/bias holds NaN at position 3/);
});

test("of many problems ten are shown and the others counted", () => {
  const message = problemsOf(new Map());
  assert.match(message, /50 of its tensors are wrong/);
  assert.equal(message.match(/missing:/g)?.length, 10);
  assert.match(message, /and 40 more/);
});

test("two tensors for one place are refused", () => {
  assert.match(
    problemsOf(exact().set("conv1/bias:0", { shape: [64], data: new Float32Array(64) })),
    /"conv1\/bias:0" and "conv1\/bias" both stand for conv1\/bias/,
  );
});

test("a 1x1 kernel is a dense kernel, but a 1x7 kernel is no 7x1 kernel", () => {
  const { network: withTop } = buildTopology("mobilenet_v1_folded", { width: 0.25, size: 128, top: 1001 });
  const tensors = new Map(weightSpecs(withTop).map(({ name, shape }) => [name, { shape, data: new Float32Array(elementCount(shape)) }]));
  tensors.set("conv_preds/kernel", { shape: [1, 1, 256, 1001], data: new Float32Array(256 * 1001) });
  assert.deepEqual(assignWeights(withTop, tensors, plainNames).get("conv_preds/kernel")?.shape, [256, 1001]);

  const { network: inception } = buildTopology("inception_v3", { width: 1, size: 75 });
  const turned = new Map(
    weightSpecs(inception).map(({ name, shape }) => {
      const [rows = 0, columns = 0, ...rest] = shape;
      const other = rows !== columns && shape.length === 4 ? [columns, rows, ...rest] : shape;
      return [name, { shape: other, data: new Float32Array(elementCount(shape)) }];
    }),
  );
  assert.throws(
    () => assignWeights(inception, turned, plainNames),
    /misshaped: conv2d_33\/kernel must be \[1, 7, 128, 128\], found \[7, 1, 128, 128\]/,
  );
});

test("Inception v3 as Keras saves it, numbered from 0 or on from other models, is the published network, numbered from 1", () => {
  const { network: inception } = buildTopology("inception_v3", { width: 1, size: 75 });
  const published = new Map(weightSpecs(inception).map(({ name, shape }) => [name, zeros(...shape)]));
  for (const first of [0, 188]) {
    const numbered = (kind: string, number: number): string => (number === 0 ? kind : `${kind}_${number}`);
    const saved = new Map(
      [...published].map(([name, tensor]) => [
        name.replace(/^(\w+?)_(\d+)(?=\/)/, (_, kind: string, number: string) => numbered(kind, Number(number) - 1 + first)),
        tensor,
      ]),
    );
    assert.equal(saved.has("conv2d/kernel"), first === 0);
    const [, keras, renumbered] = nameMapsFor(saved.keys());
    assert.throws(() => assignWeights(inception, saved, keras!), /missing: /);
    const weights = assignWeights(inception, saved, renumbered!);
    for (const [name, { data }] of published) assert.equal(weights.get(name)?.data, data, name);
  }
});

test("names of tensors in each scheme", () => {
  const [plain, keras, renumbered, slimV2, slimV1, torchvision, gluon] = nameMapsFor(["conv2d/kernel:0", "batch_normalization_3/beta:0"]);
  assert.equal(plain?.map("fire2/concat/kernel:0"), "fire2/concat/kernel");
  assert.equal(keras?.map("conv1/uniform1"), "conv1/kernel");
  assert.equal(keras?.map("fire2/squeeze1x1/b"), "fire2/squeeze1x1/bias");
  assert.equal(keras?.map("block1_conv1/W_1:0"), "block1_conv1/kernel");
  assert.equal(keras?.map("block1_conv1/b_1:0"), "block1_conv1/bias");
  assert.equal(keras?.map("bn/running_std:0"), "bn/moving_variance");
  assert.equal(keras?.map("block_1_depthwise/depthwise_kernel:0"), "block_1_depthwise/depthwise_kernel");
  assert.equal(keras?.map("kernel"), undefined);
  assert.equal(keras?.map("conv1/momentum"), undefined);
  assert.equal(renumbered?.map("conv2d_7/kernel:0"), "conv2d_8/kernel");
  assert.equal(renumbered?.map("batch_normalization_5/moving_mean:0"), "batch_normalization_3/moving_mean");
  assert.equal(renumbered?.map("predictions/bias:0"), "predictions/bias");
  assert.equal(slimV2?.map("Conv_weights"), "Conv1/kernel");
  assert.equal(slimV2?.map("Conv_1_BatchNorm_moving_mean"), "Conv_1_bn/moving_mean");
  assert.equal(slimV2?.map("MobilenetV2/expanded_conv_12/depthwise/depthwise_weights"), "block_12_depthwise/depthwise_kernel");
  assert.equal(slimV2?.map("expanded_conv_project_BatchNorm_beta"), "expanded_conv_project_BN/beta");
  assert.equal(slimV2?.map("Logits_Conv2d_1c_1x1_biases"), "predictions/bias");
  assert.equal(slimV2?.map("global_step"), undefined);
  assert.equal(slimV1?.map("MobilenetV1/Conv2d_0/weights"), "conv1/kernel");
  assert.equal(slimV1?.map("Conv2d_13_depthwise/weights"), "conv_dw_13/depthwise_kernel");
  assert.equal(slimV1?.map("Conv2d_3_pointwise/BatchNorm/gamma"), "conv_pw_3_bn/gamma");
  assert.equal(torchvision?.map("layer1.0.conv1.weight"), "layer1.0.conv1/kernel");
  assert.equal(torchvision?.map("bn1.weight"), "bn1/gamma");
  assert.equal(torchvision?.map("layer2.0.downsample.0.weight"), "layer2.0.downsample.0/kernel");
  assert.equal(torchvision?.map("layer2.0.downsample.1.running_var"), "layer2.0.downsample.1/moving_variance");
  assert.equal(torchvision?.map("fc.bias"), "fc/bias");
  assert.equal(torchvision?.map("fc.running_mean"), undefined);
  assert.equal(gluon?.map("features.5.0.conv1.weight"), "features.5.0.conv1/kernel");
  assert.equal(gluon?.map("features.9.beta"), "features.9/beta");
  assert.equal(gluon?.map("output.bias"), "output/bias");
});

const unfit: readonly (readonly [string, (tensors: Map<string, Tensor>) => unknown, RegExp])[] = [
  [
    "a kernel whose axes are already turned",
    (tensors) => tensors.set("conv1.weight", zeros(7, 7, 3, 64)),
    /misshaped: conv1\/kernel must be \[7, 7, 3, 64\], found \[7, 7, 3, 64\] in "conv1.weight", which is \[3, 64, 7, 7\] in the order of axes here/,
  ],
  ["a missing one", (tensors) => tensors.delete("layer4.1.bn2.running_var"), /missing: layer4.1.bn2\/moving_variance \[512\]/],
  ["a surplus one", (tensors) => tensors.set("aux.weight", zeros(1)), /surplus: "aux.weight" \[1\]/],
];

test.each(unfit)("PyTorch's tensors: %s is named", (_what, change, message) => {
  const resnet = buildTopology("resnet18_v1", { width: 1, size: 32 }).network;
  const torchvision = nameMapsFor([]).find(({ name }) => name === "torchvision ResNet")!;
  const norms = new Set(resnet.layers.filter(({ kind }) => kind === "batchNorm").map(({ name }) => name));
  const tensors = new Map<string, Tensor>([["bn1.num_batches_tracked", zeros()]]);
  for (const { name, shape } of weightSpecs(resnet)) {
    const [layer = "", part = ""] = name.split("/");
    const parts: Readonly<Record<string, string>> = { beta: "bias", moving_mean: "running_mean", moving_variance: "running_var" };
    const [height, width, inputs, outputs] = shape;
    const turned = norms.has(layer) || shape.length < 4 ? shape : [outputs!, inputs!, height!, width!];
    tensors.set(`${layer}.${parts[part] ?? "weight"}`, zeros(...turned));
  }
  assert.equal(assignWeights(resnet, tensors, torchvision).size, weightSpecs(resnet).length);
  change(tensors);
  assert.throws(() => assignWeights(resnet, tensors, torchvision), { code: "WEIGHTS_INVALID", message });
});

function zeros(...shape: readonly number[]): Tensor {
  return { shape, data: new Float32Array(elementCount(shape)) };
}
