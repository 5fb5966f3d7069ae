import { expect, test } from "vitest";
import type { ListedPicture, SplitName } from "../../domain/dataset/listing.js";
import { assignedSplit } from "../../domain/dataset/split.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { PictureCensus } from "./picture-census.js";

const split = { trainPercent: 50, validationPercent: 25, testPercent: 25, seed: 1 };
const ids = Array.from({ length: 40 }, (_, index) => sha256Hex(String(index)));

function listed(index: number, givenSplit?: SplitName): ListedPicture {
  return { uri: `a/${index}.jpg`, bytes: 9, state: "", label: index % 2 === 0 ? "a" : "b", ...(givenSplit && { givenSplit }) };
}

/** All pictures known, with `kept` views of each. */
function census(views: number, kept: (imageId: string, view: number) => boolean, givenSplit?: SplitName): PictureCensus {
  const counted = new PictureCensus({ views, split, isKept: kept });
  for (const [index, imageId] of ids.entries()) counted.add(listed(index, givenSplit), { kind: "image", imageId });
  return counted;
}

function trainedOf(givenSplits: readonly SplitName[], given?: SplitName): number {
  return ids.filter((imageId) => assignedSplit(imageId, given, givenSplits, split) === "train").length;
}

test("without views a picture is cached where its plain feature is kept", () => {
  const counted = census(1, (imageId) => imageId < "8");
  const kept = ids.filter((imageId) => imageId < "8").length;
  expect(counted.cached([])).toBe(kept);
  expect(counted.toExtract([])).toEqual({ pictures: 40 - kept, views: 40 - kept, thumbnails: 40 - kept });
});

test.each<[readonly SplitName[]]>([[[]], [["train", "test"]], [["train", "validation"]], [["train", "validation", "test"]]])(
  "with views a picture that is trained on needs all of them (given splits: %j)",
  (givenSplits) => {
    const plainOnly = census(4, (_, view) => view === 0);
    const trained = trainedOf(givenSplits);
    expect(plainOnly.cached(givenSplits)).toBe(40 - trained);
    expect(plainOnly.toExtract(givenSplits)).toEqual({ pictures: trained, views: 3 * trained, thumbnails: 0 });
  },
);

test("the splits that the dataset gives hold", () => {
  expect(census(4, (_, view) => view === 0, "test").cached(["train", "test"])).toBe(40);
  expect(census(4, (_, view) => view === 0, "train").cached(["train", "validation"])).toBe(0);
  expect(census(4, () => true, "train").cached(["train", "validation"])).toBe(40);
});

test("copies count once, with the most views that one of them needs", () => {
  const counted = new PictureCensus({ views: 3, split, isKept: () => false });
  for (const given of ["test", "train", "test", "train"] as const) counted.add(listed(0, given), { kind: "image", imageId: ids[0]! });
  expect(counted.toExtract(["train", "validation", "test"])).toEqual({ pictures: 1, views: 3, thumbnails: 1 });
});

test("an unknown picture ends the exact count, not that of what is cached", () => {
  const counted = census(2, () => true);
  counted.add(listed(99), undefined);
  expect([counted.exact, counted.pictures, counted.cached([])]).toEqual([false, 41, 40]);
});
