import { expect, test } from "vitest";
import { chosenRows, countedRows } from "./chosen-rows.js";

test("rows of a weight count", () => {
  expect(countedRows(Float32Array.of(1, 0, 2, 0, 0.5), 0, 5)).toEqual([0, 2, 4]);
  expect(countedRows(Float32Array.of(1, 0, 2, 0, 0.5), 1, 4)).toEqual([2]);
});

test("neighbours are where they lie, others are copied", () => {
  const data = Float32Array.of(0, 1, 10, 11, 20, 21, 30, 31);
  const neighbours = chosenRows(data, [1, 2], 2);
  expect(neighbours).toEqual(Float32Array.of(10, 11, 20, 21));
  expect(neighbours.buffer).toBe(data.buffer);
  expect(chosenRows(data, [0, 2, 3], 2)).toEqual(Float32Array.of(0, 1, 20, 21, 30, 31));
  expect(chosenRows(Uint8Array.of(1, 2, 3), [0, 2], 1)).toEqual(Uint8Array.of(1, 3));
});
