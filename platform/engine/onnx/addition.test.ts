import { expect, test } from "vitest";
import { addInto } from "../../../domain/training/tree.js";
import { randoms } from "../../../test/conformance/engine/inputs.js";
import { Addition } from "./addition.js";
import { loadRuntime } from "./runtime.js";

test("vectors are added with the bits of the tree, into a third one or into one of them", async () => {
  const length = 10_001;
  const [left, right] = [randoms(length, 1), randoms(length, 2).map((value) => value * 1e-3)] as const;
  const expected = left.slice();
  addInto(expected, right);
  const addition = await Addition.open(await loadRuntime(), length);
  const sum = new Float32Array(length);
  await addition.add(left, right, sum);
  expect(sum).toEqual(expected);
  for (const into of ["left", "right"] as const) {
    const vectors = { left: left.slice(), right: right.slice() };
    await addition.add(vectors.left, vectors.right, vectors[into]);
    expect(vectors[into]).toEqual(expected);
  }
  await addition.release();
});
