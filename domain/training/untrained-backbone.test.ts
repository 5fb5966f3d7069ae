import { expect, test } from "vitest";
import { encodeBackbone, decodeBackbone } from "../../formats/backbone/backbone.js";
import { backboneDigest } from "../network/backbone.js";
import { untrainedBackbone } from "./untrained-backbone.js";

test("a topology with drawn weights is a backbone that says so, always the same one", () => {
  const backbone = untrainedBackbone("resnet18_v2", undefined, { size: 64 });
  expect(backbone).toMatchObject({
    name: "resnet18_v2_64_untrained",
    origin: "untrained: random weights (glorot uniform, seed 42) for resnet18_v2_64",
    untrained: true,
    preprocessing: { size: 64, resize: "SHORT_SIDE", resizeTo: 73 },
  });
  expect(backbone.network.output).toBe("global_average_pool");
  const { backbone: read, digest } = decodeBackbone(encodeBackbone(backbone));
  expect(read.untrained).toBe(true);
  expect(digest).toBe(backboneDigest(backbone));
  expect(backboneDigest(untrainedBackbone("resnet18_v2", "again", { size: 64 }))).toBe(digest);
});

test("kernels fill the limits of Glorot uniform; scales and variances are 1, shifts and means 0", () => {
  const { weights } = untrainedBackbone("mobilenet_v2_0.35_224", "mine");
  const values = (name: string): Float32Array => weights.get(name)!.data;
  const kernel = values("Conv_1/kernel");
  const limit = Math.sqrt(6 / (112 + 1280));
  const largest = kernel.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largest).toBeLessThanOrEqual(Math.fround(limit));
  expect(largest).toBeGreaterThan(0.99 * limit);
  for (const [part, value] of Object.entries({ gamma: 1, beta: 0, moving_mean: 0, moving_variance: 1 }))
    expect(new Set(values(`Conv_1_bn/${part}`)), part).toEqual(new Set([value]));
});

test("an unknown topology, a bad size and a bad name are refused", () => {
  expect(() => untrainedBackbone("resnet19", undefined)).toThrow('"resnet19" is no topology of the catalogue');
  expect(() => untrainedBackbone("resnet18_v2", undefined, { size: 16 })).toThrow("the size must be from 32");
  expect(() => untrainedBackbone("resnet18_v2", "a/b")).toThrow('backbone name "a/b"');
});
