import assert from "node:assert/strict";
import { test } from "vitest";
import { legalCuts } from "../cut.js";
import { resizeNetwork } from "../resize.js";
import { layerShapes, parameterCount } from "../shapes.js";
import { buildTopology, catalogEntries, parseTopologyName, topologyName } from "./catalog.js";
import { samePadding } from "./same-padding.js";

test("SAME padding is TensorFlow's", () => {
  assert.deepEqual(samePadding([224, 224], [3, 3], [2, 2]), { top: 0, bottom: 1, left: 0, right: 1 });
  assert.deepEqual(samePadding([7, 7], [3, 3], [2, 2]), { top: 1, bottom: 1, left: 1, right: 1 });
  assert.deepEqual(samePadding([17, 8], [1, 7], [1, 1]), { top: 0, bottom: 0, left: 3, right: 3 });
  assert.deepEqual(samePadding([8, 8], [1, 1], [2, 2]), { top: 0, bottom: 0, left: 0, right: 0 });
});

test("published numbers of values", () => {
  const totals: readonly (readonly [topology: string, width: number, total: number])[] = [
    // Keras, include_top=False.
    ["mobilenet_v2", 1.4, 4_363_712],
    ["mobilenet_v2", 1, 2_257_984],
    ["mobilenet_v2", 0.35, 410_208],
    ["mobilenet_v1", 1, 3_228_864],
    ["squeezenet_1.1", 1, 722_496],
    ["inception_v3", 1, 21_802_784],
    ["vgg16", 1, 14_714_688],
  ];
  for (const [topology, width, total] of totals) {
    assert.equal(parameterCount(buildTopology(topology, { width, size: 224 }).network).total, total, `${topology} ${width}`);
  }
  assert.equal(parameterCount(buildTopology("mobilenet_v1_folded", { width: 0.25, size: 128, top: 1001 }).network).total, 467_593);
  assert.equal(parameterCount(buildTopology("mobilenet_v2", { width: 1, size: 224, top: 1000 }).network).total, 3_538_984);
  assert.equal(parameterCount(buildTopology("vgg16", { width: 1, size: 224, top: 1000 }).network).total, 138_357_544);
  // torchvision, which does not count moving statistics.
  for (const [topology, trainable] of [
    ["resnet18_v1", 11_689_512],
    ["resnet34_v1", 21_797_672],
    ["resnet50_v1", 25_557_032],
  ] as const) {
    assert.equal(parameterCount(buildTopology(topology, { width: 1, size: 224, top: 1000 }).network).trainable, trainable, topology);
  }
});

test("every entry builds and ends in global_average_pool or its top", () => {
  for (const { topology, options } of catalogEntries()) {
    const { network, preprocessing } = buildTopology(topology, options);
    assert.deepEqual(network.inputShape, [preprocessing.size, preprocessing.size, 3]);
    const features = topology === "vgg16" && options.top !== undefined ? "block5_pool" : "global_average_pool";
    assert.ok(legalCuts(network).includes(features));
    assert.deepEqual(layerShapes(network).get(network.output)?.length, 1);
    if (options.top !== undefined) assert.deepEqual(layerShapes(network).get(network.output), [options.top]);
    assert.deepEqual(parseTopologyName(topologyName(topology, options)), {
      topology,
      options: { width: options.width, size: options.size },
    });
  }
});

test("names of networks, folders and published files", () => {
  const read = (name: string): string | undefined => {
    const parsed = parseTopologyName(name);
    return parsed && `${parsed.topology} ${parsed.options.width} ${parsed.options.size}`;
  };
  assert.equal(read("mobilenet_v2_1.0_224"), "mobilenet_v2 1 224");
  assert.equal(read("mobilenet_v2_0.35_96"), "mobilenet_v2 0.35 96");
  assert.equal(read("mobilenet_v2_160"), "mobilenet_v2 1 160");
  assert.equal(read("mobilenet_v2"), "mobilenet_v2 1 224");
  assert.equal(read("mobilenet_v1_0.25_128_dequantised"), "mobilenet_v1 0.25 128");
  assert.equal(read("mobilenet_v1_folded_0.25_128"), "mobilenet_v1_folded 0.25 128");
  assert.equal(read("inception_v3_299_finetuned"), "inception_v3 1 299");
  assert.equal(read("inception_v3_weights_tf_dim_ordering_tf_kernels_notop"), "inception_v3 1 299");
  assert.equal(read("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top"), "mobilenet_v2 0.35 224");
  assert.equal(read("mobilenet_2_5_128_tf_no_top"), "mobilenet_v1 0.25 128");
  assert.equal(read("mobilenet_1_0_224_tf"), "mobilenet_v1 1 224");
  assert.equal(read("squeezenet_1.1_notop"), "squeezenet_1.1 1 227");
  assert.equal(read("squeezenet_weights_tf_dim_ordering_tf_kernels_notop"), "squeezenet_1.1 1 227");
  assert.equal(read("resnet50-0676ba61"), "resnet50_v1 1 224");
  assert.equal(read("resnet18"), "resnet18_v1 1 224");
  assert.equal(read("resnet18_96"), "resnet18_v1 1 96");
  assert.equal(read("resnet18_v2_160"), "resnet18_v2 1 160");
  assert.equal(read("resnet101-63fe2227"), undefined);
  assert.equal(read("vgg16_weights_tf_dim_ordering_tf_kernels_notop"), "vgg16 1 224");
  assert.equal(read("mobilenet_v21"), undefined);
  assert.equal(read("backbone"), undefined);
});

test("pictures for ResNet are cut out of the middle, seven eighths of the short side", () => {
  const { preprocessing } = buildTopology("resnet18_v1", { width: 1, size: 224 });
  assert.deepEqual(preprocessing, {
    size: 224,
    resize: "SHORT_SIDE",
    resizeTo: 256,
    channels: "RGB",
    mean: [0.485 * 255, 0.456 * 255, 0.406 * 255].map((x) => Number(x.toFixed(3))),
    deviation: [0.229 * 255, 0.224 * 255, 0.225 * 255].map((x) => Number(x.toFixed(3))),
  });
  assert.equal(buildTopology("resnet50_v2", { width: 1, size: 112 }).preprocessing.resizeTo, 128);
});

test("the entries for a size are those that take it", () => {
  const names = new Set(catalogEntries(50).map(({ topology }) => topology));
  assert.ok(names.has("vgg16") && names.has("squeezenet_1.1") && !names.has("inception_v3"));
  assert.ok(catalogEntries(50).every(({ options }) => options.size === 50));
});

test("what a topology does not have is refused", () => {
  assert.throws(() => buildTopology("resnet", { width: 1, size: 224 }), /"resnet" is no known topology; known are mobilenet_v2/);
  assert.throws(() => buildTopology("toString", { width: 1, size: 224 }), /no known topology/);
  assert.throws(() => buildTopology("inception_v3", { width: 0.5, size: 224 }), /no widths/);
  assert.throws(() => buildTopology("inception_v3", { width: 1, size: 74 }), /from 75/);
  assert.throws(() => buildTopology("squeezenet_1.1", { width: 1, size: 227, top: 1000 }), /no top/);
  assert.throws(() => buildTopology("mobilenet_v2", { width: Number.NaN, size: 224 }), /width/);
});

test("a resized network is the one that the catalogue builds for that size", () => {
  for (const [topology, sizes] of [
    ["mobilenet_v2", [96, 150, 224, 299]],
    ["squeezenet_1.1", [64, 227, 300]],
    ["inception_v3", [75, 150, 299]],
    // At 75 and 150 some strided windows of ResNet are padded as SAME would pad them.
    ["resnet18_v1", [64, 75, 150, 224]],
    ["resnet50_v2", [75, 150, 224]],
    ["vgg16", [50, 224]],
  ] as const) {
    for (const from of sizes) {
      for (const to of sizes) {
        const { name, ...resized } = resizeNetwork(buildTopology(topology, { width: 1, size: from }).network, to);
        const { name: otherName, ...built } = buildTopology(topology, { width: 1, size: to }).network;
        assert.deepEqual(resized, built, `${name} as ${otherName}`);
      }
    }
  }
  const flat = buildTopology("mobilenet_v2", { width: 0.35, size: 96 }).network;
  const withDense = {
    ...flat,
    layers: [
      ...flat.layers,
      { name: "flat", kind: "flatten" as const, inputs: ["out_relu"] },
      { name: "dense", kind: "dense" as const, units: 2, bias: true, inputs: ["flat"] },
    ],
    output: "dense",
  };
  assert.throws(() => resizeNetwork(withDense, 128), /layer "dense" has weights for 11520 inputs and would get 20480; use the size 96/);
});

test("padding that SAME and PyTorch share at every layer is not guessed", () => {
  const odd = buildTopology("resnet18_v1", { width: 1, size: 225 }).network;
  assert.throws(
    () => resizeNetwork(odd, 224),
    /layer "conv1": at 225 rows it cannot be seen whether its padding of 3 is TensorFlow's SAME/,
  );
  assert.equal(resizeNetwork(odd, 257).inputShape[0], 257);
});
