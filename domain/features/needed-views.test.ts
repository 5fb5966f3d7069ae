import { expect, test } from "vitest";
import { splitOf } from "../dataset/split.js";
import { viewsNeeded } from "./needed-views.js";
import { sha256Hex } from "./sha256.js";

const split = { trainPercent: 50, validationPercent: 25, testPercent: 25, seed: 1 };

test("pictures to train on need every view, others the plain one; a given split goes before the drawn one", () => {
  const ids = Array.from({ length: 40 }, (_, index) => sha256Hex(`${index}`));
  for (const id of ids) expect(viewsNeeded(4, id, undefined, [], split)).toBe(splitOf(id, split) === "train" ? 4 : 1);
  expect(new Set(ids.map((id) => viewsNeeded(4, id, undefined, [], split)))).toEqual(new Set([1, 4]));
  expect(viewsNeeded(4, ids[0]!, "test", ["train", "test"], split)).toBe(1);
  expect(viewsNeeded(4, ids[0]!, "train", ["train", "validation"], split)).toBe(4);
  expect(viewsNeeded(1, ids[0]!, "train", ["train", "validation"], split)).toBe(1);
});
