import { expect, test } from "vitest";
import type { FeatureSpec } from "../../domain/features/feature-spec.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { memoryObjectStore } from "../object-store/memory.js";
import { JobFeatures } from "./job-features.js";

const profile = { engine: "onnx", engineVersion: "1", device: "cpu", instructionSet: "avx2", threads: 0, batch: 0, decoder: "d" };
const preprocessing = { size: 2, resize: "STRETCH", resizeTo: 2, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] } as const;
const plain: FeatureSpec = {
  formatVersion: 1,
  backboneDigest: null,
  cut: "input",
  shape: [2, 2, 3],
  preprocessing,
  dtype: "uint8",
  profile,
};
const flipped: FeatureSpec = { ...plain, augmentation: { horizontalFlip: true, verticalFlip: false }, viewsRevision: 1 };
const id = sha256Hex("a picture");
const imageIds = imageIdBytes([id]);
const pixels = (first: number): Uint8Array => Uint8Array.from({ length: 12 }, (_, index) => first + index);

test("plain pictures are shared by jobs with and without views; pixels come back as bytes", async () => {
  const store = memoryObjectStore();
  const withViews = await JobFeatures.open(store, plain, flipped);
  await withViews.append([
    await withViews.writeShard({ view: 0, imageIds, features: pixels(0), thumbnails: [Uint8Array.of(1)] }),
    await withViews.writeShard({ view: 1, imageIds, features: pixels(100) }),
  ]);

  const again = await JobFeatures.open(store, plain, flipped);
  expect([0, 1, 2].map((view) => again.has(id, view))).toEqual([true, true, false]);
  expect(await again.readRows([id], 0)).toEqual({ kind: "complete", features: pixels(0) });
  expect(await again.readRows([id], 1)).toEqual({ kind: "complete", features: pixels(100) });
  expect(await again.readRows([id], 2)).toMatchObject({ kind: "missing", imageIds: [id] });
  expect((await again.readThumbnails([id])).get(id)).toEqual(Uint8Array.of(1));

  const without = await JobFeatures.open(store, plain, null);
  expect(without.has(id, 0)).toBe(true);
  expect(() => without.has(id, 1)).toThrow(/view 1 of a job without views/u);
  const otherViews = await JobFeatures.open(store, plain, { ...flipped, augmentation: { horizontalFlip: true, verticalFlip: true } });
  expect([0, 1].map((view) => otherViews.has(id, view))).toEqual([true, false]);
});
