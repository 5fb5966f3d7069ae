import { expect, test } from "vitest";
import { scaledToOne, settledPreprocessing } from "./preprocessing.js";

test("resizeTo means something for SHORT_SIDE only", () => {
  const stretched = { size: 224, resize: "STRETCH", resizeTo: 256, ...scaledToOne } as const;
  expect(settledPreprocessing(stretched).resizeTo).toBe(224);
  expect(settledPreprocessing({ ...stretched, resize: "SHORT_SIDE" }).resizeTo).toBe(256);
});

test("a size above the backbone's short side is refused before a picture is read", () => {
  const larger = { size: 299, resize: "SHORT_SIDE", resizeTo: 256, ...scaledToOne } as const;
  expect(() => settledPreprocessing(larger)).toThrow(/resizeTo: must be at least the size \(299\), found 256/u);
});
