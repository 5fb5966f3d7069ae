import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "vitest";
import { openOnnxEngine } from "../../platform/engine/onnx/onnx.js";
import { importBackbone } from "./import-backbone.js";

/** Made by Keras 3 itself: formats/keras-h5/testdata/make-keras3-model.py. */
const folder = new URL("../keras-h5/testdata/", import.meta.url);
const expected = JSON.parse(readFileSync(new URL("keras3-model.json", folder), "utf8")) as { pooled: number[]; probabilities: number[] };

for (const [what, keepClassifier, output] of [
  ["pooled", false, "pool"],
  ["probabilities", true, "classes_softmax"],
] as const) {
  test(`a whole model of Keras 3 with a model inside it gives Keras's ${what}`, async () => {
    const files = new Map([["keras3-model.h5", new Uint8Array(readFileSync(new URL("keras3-model.h5", folder)))]]);
    const { network, weights, preprocessing } = await importBackbone({ name: "keras3", files, keepClassifier });
    assert.equal(network.output, output);
    assert.deepEqual(preprocessing.mean, [127.5, 127.5, 127.5]);
    const pixels = Uint8Array.from(
      { length: 16 * 16 * 3 },
      (_, index) => (Math.floor(index / 48) * 31 + (Math.floor(index / 3) % 16) * 17 + (index % 3) * 101) % 256,
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
