import { expect, test } from "vitest";
import { randoms } from "../../test/conformance/engine/inputs.js";
import { addRowsAlongTree } from "../../domain/training/tree.js";
import { GrainSums } from "./grain-sums.js";

test.each([1, 2, 4, 8, 16])("%i grains have the bits of their rows added along the tree, call after call", async (grains) => {
  const sums = new GrainSums(7);
  for (const seed of [1, 2]) {
    const rows = randoms(7 * grains, seed);
    const total = new Float32Array(7);
    sums.begin(total);
    for (let grain = 0; grain < grains; grain++) {
      sums.next().set(rows.subarray(7 * grain, 7 * (grain + 1)));
      await sums.add();
    }
    expect(total).toEqual(addRowsAlongTree(rows.slice(), grains));
  }
});
