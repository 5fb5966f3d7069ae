import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "vitest";
import { classifierOf } from "../../domain/network/classifier.js";
import { openOnnxEngine } from "../../platform/engine/onnx/onnx.js";
import { importBackbone } from "./import-backbone.js";

/** Made by PyTorch's own exporter: formats/onnx/testdata/make-pytorch-model.py. */
const folder = new URL("../onnx/testdata/", import.meta.url);
const expected = JSON.parse(readFileSync(new URL("pytorch-resnet.json", folder), "utf8")) as Record<"features" | "logits", number[]>;
const imagenet = { channels: "RGB", mean: [123.675, 116.28, 103.53], deviation: [58.395, 57.12, 57.375] } as const;

for (const [what, keepClassifier] of [
  ["features", false],
  ["logits", true],
] as const) {
  test(`a ResNet that PyTorch exported to ONNX gives PyTorch's ${what}`, async () => {
    const files = new Map([["any name", new Uint8Array(readFileSync(new URL("pytorch-resnet.onnx", folder)))]]);
    const request = { name: "small", files, preprocessing: imagenet, keepClassifier };
    const { network, weights, preprocessing, origin } = await importBackbone(request);
    assert.match(origin, /^ONNX;/);
    assert.equal(classifierOf(network)?.classes, keepClassifier ? 5 : undefined);
    const pixels = Uint8Array.from(
      { length: 32 * 32 * 3 },
      (_, index) => (Math.floor(index / 96) * 31 + (Math.floor(index / 3) % 32) * 17 + (index % 3) * 101) % 256,
    );
    const forward = await (await openOnnxEngine({ threads: 1 })).compileForward(network, weights, { batch: 1, preprocessing });
    const found = await forward.run(pixels, 1);
    await forward.release();
    assert.equal(found.length, expected[what].length);
    expected[what].forEach((value, index) =>
      assert.ok(Math.abs((found[index] ?? NaN) - value) < 1e-5, `${index}: ${found[index]}, expected ${value}`),
    );
  });
}
