import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Backbone } from "../../domain/network/backbone.js";
import { cutAt } from "../../domain/network/cut.js";
import type { Network } from "../../domain/network/network.js";
import { openOnnxEngine } from "../../platform/engine/onnx/onnx.js";
import { importBackbone, type ImportRequest } from "./import-backbone.js";

/** Every published weight file against the features that its golden.json states, through every format that the folder has. */
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
