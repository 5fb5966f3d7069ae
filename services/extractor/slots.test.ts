import { expect, test } from "vitest";
import { Slots } from "./slots.js";

test("so many at a time, in order; a failure frees its slot", async () => {
  const slots = new Slots(2);
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const works = [0, 1, 2, 3].map((number) =>
    slots.run(async () => {
      begun.push(number);
      await new Promise<void>((resolve) => ends.push(resolve));
      if (number === 0) throw new Error("failed");
      return number;
    }),
  );
  expect(begun).toEqual([0, 1]);
  ends[0]!();
  await expect(works[0]).rejects.toThrow("failed");
  expect(begun).toEqual([0, 1, 2]);
  ends[1]!();
  ends[2]!();
  expect(await Promise.all(works.slice(1, 3))).toEqual([1, 2]);
  ends[3]!();
  expect(await works[3]).toBe(3);
  expect(await slots.run(async () => "again")).toBe("again");
});
