import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Backbone } from "../../domain/network/backbone.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import { classifierOf, classifierRow } from "../../domain/network/classifier.js";
import { cutAt } from "../../domain/network/cut.js";
import type { Network } from "../../domain/network/network.js";
import { layerShapes } from "../../domain/network/shapes.js";
import { openOnnxEngine } from "../../platform/engine/onnx/onnx.js";
import { labelsOfFile } from "../passport/labels.js";
import { importBackbone, type ImportRequest } from "./import-backbone.js";

/** Every published weight file against the features that its golden.json states, through every format that the folder has. */
/** What a job says that uses all of its backbone. */
const whole = { lastLayer: undefined };
const data = process.env["GRAFT_TEST_DATA"];

interface Pooled {
  readonly length: number;
  readonly first16: readonly number[];
  readonly mean: number;
  readonly l2norm: number;
  readonly max: number;
  readonly argmax: number;
}

function read(folder: string, ...names: readonly string[]): Map<string, Uint8Array> {
  const kept = readdirSync(`${data}/weights/${folder}`).filter((name) => names.includes(name));
  expect(kept).toHaveLength(names.length);
  return new Map(kept.map((name) => [name, readFileSync(`${data}/weights/${folder}/${name}`)]));
}

function goldenOf(folder: string): { pooled_features: Pooled; top5_logits?: [number, number][]; mixed7?: { pooled: Pooled } } {
  return JSON.parse(readFileSync(`${data}/weights/${folder}/golden.json`, "utf8")) as ReturnType<typeof goldenOf>;
}

/** `pixel[h][w][c] = (h*31 + w*17 + c*101) mod 256`, as the golden files say. */
function syntheticPicture(size: number): Uint8Array {
  return Uint8Array.from({ length: size * size * 3 }, (_, index) => {
    const channel = index % 3;
    const column = Math.floor(index / 3) % size;
    const row = Math.floor(index / 3 / size);
    return (row * 31 + column * 17 + channel * 101) % 256;
  });
}

async function features({ weights, preprocessing }: Backbone, network: Network): Promise<Float32Array> {
  const engine = await openOnnxEngine({ threads: 1 });
  const forward = await engine.compileForward(network, weights, { batch: 1, preprocessing });
  try {
    return await forward.run(syntheticPicture(preprocessing.size), 1);
  } finally {
    await forward.release();
  }
}

function compare(found: Float32Array, golden: Pooled, tolerance: number): void {
  assert.equal(found.length, golden.length);
  golden.first16.forEach((value, index) =>
    assert.ok(Math.abs((found[index] ?? NaN) - value) <= tolerance, `feature ${index}: ${found[index]}, expected ${value}`),
  );
  const sum = found.reduce((total, value) => total + value, 0);
  const squares = found.reduce((total, value) => total + value * value, 0);
  assert.ok(Math.abs(sum / found.length - golden.mean) <= tolerance);
  // The norm adds up the differences of all features.
  assert.ok(Math.abs(Math.sqrt(squares) - golden.l2norm) <= tolerance * Math.sqrt(found.length));
  assert.ok(Math.abs(Math.max(...found) - golden.max) <= tolerance);
  assert.equal(found.indexOf(Math.max(...found)), golden.argmax);
}

const pixelsBy255 = { mean: [0, 0, 0], deviation: [255, 255, 255] } as const;
const cases: readonly (readonly [
  what: string,
  folder: string,
  files: readonly string[],
  tolerance: number,
  request?: Partial<ImportRequest>,
])[] = [
  ["MobileNetV2 1.0, TF-slim safetensors", "mobilenet_v2_1.0_224", ["backbone.safetensors"], 1e-3],
  ["MobileNetV2 1.0 with its top left out", "mobilenet_v2_1.0_224", ["backbone.safetensors", "top_1001.safetensors"], 1e-3],
  ["MobileNetV2 0.35, Keras safetensors", "mobilenet_v2_0.35_224", ["backbone.safetensors"], 1e-3],
  ["MobileNetV2 0.35, LayersModel", "mobilenet_v2_0.35_224", ["model.json", "weights.bin"], 1e-3],
  ["MobileNetV1 0.25, folded safetensors", "mobilenet_v1_0.25_128_dequantised", ["model.safetensors"], 1e-3],
  ["SqueezeNet 1.1, safetensors", "squeezenet_1.1_notop", ["backbone.safetensors"], 1e-2],
  ["SqueezeNet 1.1, Keras .h5", "squeezenet_1.1_notop", ["squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"], 1e-2],
  [
    "Inception v3, quantised LayersModel",
    "inception_v3_299_finetuned",
    ["model.json", "weights.bin"],
    1e-3,
    { preprocessing: pixelsBy255 },
  ],
];

for (const [what, folder, files, tolerance, request] of cases) {
  test.skipIf(data === undefined)(`${what}: golden features (needs GRAFT_TEST_DATA)`, async () => {
    const backbone = await importBackbone({ name: folder, files: read(folder, ...files), ...request });
    assert.equal(backbone.network.output, "global_average_pool");
    compare(await features(backbone, backbone.network), goldenOf(folder).pooled_features, tolerance);
    const { mixed7 } = goldenOf(folder);
    if (mixed7) {
      const { prefix } = cutAt(backbone.network, "mixed7");
      const activation = await features(backbone, prefix);
      const pooled = new Float32Array(768);
      activation.forEach((value, index) => (pooled[index % 768] = (pooled[index % 768] ?? 0) + value / (17 * 17)));
      compare(pooled, mixed7.pooled, tolerance);
    }
  });
}

for (const [folder, files] of [
  ["mobilenet_v2_1.0_224", ["backbone.safetensors", "top_1001.safetensors"]],
  ["mobilenet_v1_0.25_128_dequantised", ["model.safetensors"]],
] as const) {
  test.skipIf(data === undefined)(`${folder}: golden logits of its top (needs GRAFT_TEST_DATA)`, async () => {
    const backbone = await importBackbone({ name: folder, files: read(folder, ...files), keepClassifier: true });
    const logits = await features(backbone, backbone.network);
    assert.equal(logits.length, 1001);
    const order = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0));
    for (const [place, [index, value]] of (goldenOf(folder).top5_logits ?? []).entries()) {
      assert.equal(order[place], index);
      assert.ok(Math.abs((logits[index] ?? NaN) - value) <= 1e-3, `logit ${index}: ${logits[index]}, expected ${value}`);
    }
  });
}

test.skipIf(data === undefined)(
  "MobileNetV2's row for a class gives the score that its whole top gives (needs GRAFT_TEST_DATA)",
  async () => {
    const folder = "mobilenet_v2_1.0_224";
    const labels = labelsOfFile(readFileSync(`${data}/weights/imagenet_labels_1001.txt`), "imagenet_labels_1001.txt");
    const backbone = await importBackbone({ name: folder, files: read(folder, "backbone.safetensors", "top_1001.safetensors"), labels });
    assert.deepEqual(classifierOf(backbone.network), { layer: "predictions", input: "global_average_pool", classes: 1001 });
    const logits = await features(backbone, backbone.network);
    const { prefix, cut } = cutBackbone({ backbone: whole, preprocessing: {}, cut: undefined }, backbone);
    assert.equal(cut, "global_average_pool");
    const feature = await features(backbone, prefix);
    for (const [name, index] of [
      ["daisy", 986],
      ["hotdog", 935],
      ["red hot", 935],
      ["hot-dog", 935],
      ["Background", 0],
    ] as const) {
      const row = classifierRow(backbone, name);
      assert.equal(row.index, index);
      const score = row.kernel.reduce((sum, weight, i) => sum + weight * feature[i]!, row.bias);
      assert.ok(Math.abs(score - logits[index]!) < 1e-4, `${name}: ${score}, its logit is ${logits[index]}`);
    }
    assert.throws(() => classifierRow(backbone, "crane"), /2 classes of that name \(lines of its labels: 136 "crane", 519 "crane"\)/);
    assert.throws(() => classifierRow(backbone, "daysy"), /did you mean "daisy"/);
  },
);

test.skipIf(data === undefined)("Inception v3 takes pictures of any size from 75 pixels (needs GRAFT_TEST_DATA)", async () => {
  const files = read("inception_v3_299_finetuned", "model.json", "weights.bin");
  const request = { name: "inception_v3", files, preprocessing: pixelsBy255 };
  const published = await importBackbone(request);
  for (const [size, side] of [
    [150, 7],
    [75, 3],
  ] as const) {
    const { prefix, network, preprocessing } = cutBackbone({ backbone: whole, preprocessing: { size }, cut: "mixed7" }, published);
    assert.deepEqual(layerShapes(prefix).get("mixed7"), [side, side, 768]);
    const imported = await importBackbone({ ...request, preprocessing: { ...pixelsBy255, size } });
    assert.deepEqual(network.layers, imported.network.layers);
    assert.deepEqual(preprocessing, imported.preprocessing);
  }
  assert.throws(
    () => cutBackbone({ backbone: whole, preprocessing: { size: 74 }, cut: "mixed7" }, published),
    /give the network larger pictures/,
  );
});
