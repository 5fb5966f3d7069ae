import { describe, expect, test } from "vitest";
import { type Preprocessing, scaledToOne, settledPreprocessing } from "./preprocessing.js";

const stretched: Preprocessing = { size: 224, resize: "STRETCH", resizeTo: 224, ...scaledToOne };
const shortSide: Preprocessing = { size: 224, resize: "SHORT_SIDE", resizeTo: 256, ...scaledToOne };
const stretchedMore: Preprocessing = { ...stretched, resizeTo: 256 };

describe("a backbone's preprocessing", () => {
  test.each([stretched, shortSide, stretchedMore])("without overrides is itself: $resize to $resizeTo", (own) => {
    expect(settledPreprocessing(own)).toEqual(own);
    expect(settledPreprocessing(own, { size: 224 })).toEqual(own);
  });

  test.each<[string, Preprocessing, Partial<Preprocessing>, Partial<Preprocessing>]>([
    ["another size is all that is stretched to", stretched, { size: 150 }, { size: 150, resizeTo: 150 }],
    ["another size keeps the share that is in sight", shortSide, { size: 112 }, { size: 112, resizeTo: 128 }],
    ["a larger size too", shortSide, { size: 299 }, { size: 299, resizeTo: 342 }],
    ["of a stretched picture too", stretchedMore, { size: 112 }, { size: 112, resizeTo: 128 }],
    ["stretching takes all of the picture", shortSide, { resize: "STRETCH" }, { resize: "STRETCH", resizeTo: 224 }],
    ["at another size too", shortSide, { resize: "STRETCH", size: 150 }, { resize: "STRETCH", size: 150, resizeTo: 150 }],
    ["the hot-dog recipe: stretched, then cropped", shortSide, { resize: "STRETCH", resizeTo: 256 }, { resize: "STRETCH", resizeTo: 256 }],
    ["what is given is taken", stretched, { resize: "SHORT_SIDE", resizeTo: 240 }, { resize: "SHORT_SIDE", resizeTo: 240 }],
    ["other fields stay or are replaced", stretched, { channels: "BGR", mean: [1, 2, 3] }, { channels: "BGR", mean: [1, 2, 3] }],
  ])("%s", (_, own, overrides, expected) => {
    expect(settledPreprocessing(own, overrides)).toEqual({ ...own, ...expected });
  });

  test.each([stretched, shortSide])("cannot be cropped to more than there is: $resize", (own) => {
    expect(() => settledPreprocessing(own, { size: 299, resizeTo: 256 })).toThrow(
      /resizeTo: must be at least the size \(299\), found 256/u,
    );
  });
});
