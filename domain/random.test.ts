import { expect, test } from "vitest";
import { permutation, philox, randomKey, RandomStream } from "./random.js";

function stream(purpose: string, step = 0, row = 0): RandomStream {
  return new RandomStream(randomKey(1, purpose), step, row);
}

// Random123 1.14, tests/kat_vectors, "philox4x32 10".
test.each([
  [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
  [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], "408f276d 41c83b0e a20bc7c6 6d5451fd"],
  [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], "d16cfe09 94fdcceb 5001e420 24126ea1"],
] as const)("Philox4x32-10 of counter %j and key %j", (counter, key, expected) => {
  const out = new Uint32Array(4);
  const [[c0, c1, c2, c3], [k0, k1]] = [counter, key];
  philox(c0, c1, c2, c3, k0, k1, out, 0);
  expect([...out].map((word) => word.toString(16).padStart(8, "0")).join(" ")).toBe(expected);
});

test("seed, purpose, step and row each give other numbers; seek goes back to the first", () => {
  const firsts = [
    stream("a"),
    stream("b"),
    stream("a", 1),
    stream("a", 0, 1),
    stream("a", 2 ** 32),
    new RandomStream(randomKey(2, "a")),
    new RandomStream(randomKey(-1, "a")),
  ].map((s) => s.uint32());
  expect(new Set(firsts).size).toBe(firsts.length);
  const again = stream("b", 5, 6);
  again.normal();
  again.seek(0, 0);
  expect(again.uint32()).toBe(firsts[1]);
  expect(() => randomKey(0.5, "a")).toThrow(RangeError);
});

test("fill draws what so many calls would", () => {
  const [filled, called] = [stream("fill"), stream("fill")];
  const numbers = new Uint32Array(8);
  filled.fill(numbers);
  expect([...numbers, filled.uint32()]).toEqual(Array.from({ length: 9 }, () => called.uint32()));
});

test("bounded integers are unbiased", () => {
  const s = stream("below");
  // With 3 x 2^30 and no rejection, multiples of 3 would come twice as often as the others.
  const bound = 3 * 2 ** 30;
  const thirds = [0, 0, 0];
  for (let i = 0; i < 90_000; i++) thirds[s.below(bound) % 3]! += 1;
  for (const count of thirds) expect(Math.abs(count - 30_000)).toBeLessThan(5 * Math.sqrt(20_000));
  expect(Array.from({ length: 100 }, () => s.below(1))).toEqual(new Array(100).fill(0));
});

test("uniform numbers fill [0, 1) with 24 bits", () => {
  const s = stream("uniform");
  const values = Array.from({ length: 100_000 }, () => s.uniform());
  expect(values.every((value) => value >= 0 && value < 1 && Math.fround(value) === value)).toBe(true);
  expect(values.reduce((sum, value) => sum + value, 0) / values.length).toBeCloseTo(0.5, 2);
});

test("normal numbers have the moments and tails of the normal distribution", () => {
  const s = stream("normal");
  const count = 400_000;
  const moments = [0, 0, 0, 0];
  let beyondTwo = 0;
  for (let i = 0; i < count; i++) {
    const z = s.normal();
    [z, z * z, z * z * z, z * z * z * z].forEach((power, k) => (moments[k]! += power / count));
    if (Math.abs(z) > 2) beyondTwo += 1 / count;
  }
  // Five standard errors of each estimate.
  const bound = 5 / Math.sqrt(count);
  expect(Math.abs(moments[0]!)).toBeLessThan(bound);
  expect(Math.abs(moments[1]! - 1)).toBeLessThan(bound * Math.sqrt(2));
  expect(Math.abs(moments[2]!)).toBeLessThan(bound * Math.sqrt(15));
  expect(Math.abs(moments[3]! - 3)).toBeLessThan(bound * Math.sqrt(96));
  expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(bound * 0.21);
});

test("truncated normal numbers stay within two deviations and have deviation 0.8796", () => {
  const s = stream("truncated");
  const values = Array.from({ length: 200_000 }, () => s.truncatedNormal());
  expect(Math.max(...values.slice(0, 100_000).map(Math.abs))).toBeLessThanOrEqual(2);
  const square = values.reduce((sum, value) => sum + value * value, 0) / values.length;
  expect(Math.sqrt(square)).toBeCloseTo(0.8796, 2);
});

test("permutations hold every number once and are all equally likely", () => {
  const sorted = [...permutation(stream("permutation"), new Uint32Array(10_000))].sort((a, b) => a - b);
  expect(sorted).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
  const counts = new Map<string, number>();
  for (let epoch = 0; epoch < 24_000; epoch++) {
    const order = permutation(stream("permutation", epoch), new Uint32Array(4)).join("");
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect(counts.size).toBe(24);
  for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(5 * Math.sqrt(1_000));
});
