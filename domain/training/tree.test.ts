import { describe, expect, test } from "vitest";
import { addAlongTree, addRowsAlongTree, alignedSubTrees, type SubTreeSum } from "./tree.js";

/** Values whose sum depends on the order of addition. */
function leaf(grain: number, width = 5): Float32Array {
  return Float32Array.from({ length: width }, (_, i) => Math.fround(Math.sin(grain * 7.3 + i) * 10 ** ((grain * 5 + i) % 7)));
}

/** The definition, word for word. */
function byDefinition(first: number, grains: number): Float32Array {
  if (grains === 1) return leaf(first);
  const left = byDefinition(first, grains / 2);
  const right = byDefinition(first + grains / 2, grains / 2);
  return left.map((value, i) => Math.fround(value + (right[i] ?? NaN)));
}

function sumOf(first: number, grains: number): SubTreeSum {
  return { first, grains, values: byDefinition(first, grains) };
}

describe("alignedSubTrees", () => {
  test.each([
    [0, 8, "0+8"],
    [0, 3, "0+2 2+1"],
    [3, 6, "3+1 4+2"],
    [1, 8, "1+1 2+2 4+4"],
    [6, 8, "6+2"],
    [5, 5, ""],
  ])("%i to %i is %s", (first, end, expected) => {
    expect(
      alignedSubTrees(first, end)
        .map((t) => `${t.first}+${t.grains}`)
        .join(" "),
    ).toBe(expected);
  });
});

describe("addAlongTree", () => {
  test("any division of 16 grains among any number of owners gives the bits of the definition", () => {
    const expected = byDefinition(0, 16);
    for (let owners = 1; owners <= 16; owners++) {
      const parts = Array.from({ length: owners }, (_, k) =>
        alignedSubTrees(Math.floor((k * 16) / owners), Math.floor(((k + 1) * 16) / owners)),
      ).flat();
      expect(addAlongTree(parts.map((p) => sumOf(p.first, p.grains)).reverse())).toEqual(expected);
    }
  });

  test("the order matters for these values, so the test above can fail", () => {
    const sequential = leaf(0);
    for (let grain = 1; grain < 16; grain++)
      leaf(grain).forEach((value, i) => (sequential[i] = Math.fround((sequential[i] ?? NaN) + value)));
    expect(sequential).not.toEqual(byDefinition(0, 16));
  });

  test("adds up a sub-tree that does not begin at grain 0", () => {
    expect(addAlongTree([sumOf(6, 2), sumOf(4, 1), sumOf(5, 1)])).toEqual(byDefinition(4, 4));
  });

  test.each([
    ["a gap", [sumOf(0, 2), sumOf(3, 1)]],
    ["neighbours that are no siblings", [sumOf(1, 1), sumOf(2, 1)]],
    ["an unaligned sub-tree", [sumOf(1, 2)]],
    ["nothing", []],
  ])("refuses %s", (_, parts) => {
    expect(() => addAlongTree(parts)).toThrow(/sub-tree/);
  });

  test("addRowsAlongTree gives the same bits", () => {
    for (const grains of [1, 2, 4, 8, 16]) {
      const rows = Float32Array.from(Array.from({ length: grains }, (_, grain) => [...leaf(grain)]).flat());
      expect(addRowsAlongTree(rows, grains)).toEqual(byDefinition(0, grains));
    }
  });
});
