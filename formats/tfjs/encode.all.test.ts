import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { buildTopology } from "../../domain/network/catalog/catalog.js";
import { loadTfjsModel, predictTfjs } from "../../test/support/tfjs.js";
import { decodeSafetensors } from "../safetensors/safetensors.js";
import { encodeTfjs } from "./encode.js";

const data = process.env["GRAFT_TEST_DATA"];

test("MobileNetV2 0.35 from its safetensors gives what its published LayersModel gives, on pixels", async ({ skip }) => {
  if (data === undefined) return skip("GRAFT_TEST_DATA is not set");
  const folder = join(data, "weights/mobilenet_v2_0.35_224");
  const { network, preprocessing } = buildTopology("mobilenet_v2", { width: 0.35, size: 224, top: undefined });
  const weights = decodeSafetensors(readFileSync(join(folder, "backbone.safetensors"))).tensors;
  const files = encodeTfjs(network, weights, { preprocessing, labels: [], version: "0.0.0" });

  const pixels = Uint8Array.from({ length: 224 * 224 * 3 }, (_, i) => Math.imul(i, 2654435761) >>> 24);
  const published = await loadTfjsModel((file) => readFileSync(join(folder, file)));
  const exported = await loadTfjsModel((file) => files.get(file) as Uint8Array);
  const expected = pooled(
    predictTfjs(
      published,
      1,
      Float32Array.from(pixels, (pixel) => pixel / 127.5 - 1),
    ),
  );
  const found = pooled(predictTfjs(exported, 1, pixels));

  assert.equal(found.length, 1280);
  assert.ok(expected.some((x) => x > 0.1));
  const worst = found.reduce((largest, x, i) => Math.max(largest, Math.abs(x - (expected[i] as number))), 0);
  assert.ok(worst < 1e-4, `largest difference ${worst}`);
});

/** The published model may end before the pooling. */
function pooled(activation: Float32Array): Float32Array {
  const positions = activation.length / 1280;
  return Float32Array.from({ length: 1280 }, (_, channel) => {
    let sum = 0;
    for (let position = 0; position < positions; position++) sum += activation[position * 1280 + channel] as number;
    return sum / positions;
  });
}
