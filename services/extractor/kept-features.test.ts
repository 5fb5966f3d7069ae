import { expect, test } from "vitest";
import { missingViews } from "./kept-features.js";

const idOf = (picture: number): string => picture.toString(16).padStart(64, "0");

test("one call a view for all pictures that need it", async () => {
  const asked: number[][] = [];
  // View 0 of even pictures is kept.
  const lookup = async (imageIds: Uint8Array, view: number): Promise<Uint8Array> => {
    const pictures = Array.from({ length: imageIds.length / 32 }, (_, row) => imageIds[row * 32 + 31]!);
    asked.push([view, ...pictures]);
    return Uint8Array.from(pictures, (picture) => (view === 0 && picture % 2 === 0 ? 1 : 0));
  };
  const pictures = [2, 3, 4].map((picture) => ({ imageId: idOf(picture), views: picture - 2 }));
  expect(await missingViews(lookup, pictures)).toEqual([[], [0], [1]]);
  expect(asked).toEqual([
    [0, 3, 4],
    [1, 4],
  ]);
  expect(await missingViews(lookup, [])).toEqual([]);
});

test("a failed call is the failure of all who asked", async () => {
  await expect(missingViews(() => Promise.reject(new Error("away")), [{ imageId: idOf(1), views: 1 }])).rejects.toThrow("away");
});
