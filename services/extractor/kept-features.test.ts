import { expect, test } from "vitest";
import { KeptFeatures } from "./kept-features.js";

const idOf = (picture: number): string => picture.toString(16).padStart(64, "0");

/** A coordinator that keeps view 0 of even pictures; the test lets it answer. */
function setup() {
  const asked: { pictures: number; view: number; answer: () => void; fail: () => void }[] = [];
  const kept = new KeptFeatures((imageIds, view) => {
    const pictures = Array.from({ length: imageIds.length / 32 }, (_, row) => imageIds[row * 32 + 31]!);
    return new Promise((resolve, reject) =>
      asked.push({
        pictures: pictures.length,
        view,
        answer: () => resolve(Uint8Array.from(pictures, (picture) => (view === 0 && picture % 2 === 0 ? 1 : 0))),
        fail: () => reject(new Error("away")),
      }),
    );
  });
  return { kept, asked };
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("pictures that come up while a call is under way are asked for together in the next one", async () => {
  const { kept, asked } = setup();
  const first = [0, 1].map((picture) => kept.missingViews(idOf(picture), 1));
  await settled();
  const later = [2, 3, 4].map((picture) => kept.missingViews(idOf(picture), 1));
  await settled();
  expect(asked.map(({ pictures }) => pictures)).toEqual([2]);
  asked[0]!.answer();
  expect(await Promise.all(first)).toEqual([[], [0]]);
  await settled();
  expect(asked.map(({ pictures }) => pictures)).toEqual([2, 3]);
  asked[1]!.answer();
  expect(await Promise.all(later)).toEqual([[], [0], []]);
});

test("each view is asked for apart; a failure is that of those who asked, and the next are asked for again", async () => {
  const { kept, asked } = setup();
  const missing = kept.missingViews(idOf(2), 2);
  await settled();
  expect(asked.map(({ view }) => view)).toEqual([0, 1]);
  asked[0]!.answer();
  asked[1]!.fail();
  await expect(missing).rejects.toThrow("away");
  const again = kept.missingViews(idOf(2), 2);
  await settled();
  for (const { answer } of asked.slice(2)) answer();
  expect(await again).toEqual([1]);
});
