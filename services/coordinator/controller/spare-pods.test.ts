import { expect, test } from "vitest";
import { SparePods } from "./spare-pods.js";

test("as many pods are spare as the job asks for fewer; the next one that ends was interrupted", () => {
  const pods = new SparePods();
  pods.ask(3, 0);
  expect(pods.takes(1)).toBe(false);
  pods.ask(1, 2);
  expect([pods.takes(3), pods.takes(4), pods.takes(5)]).toEqual([true, true, false]);
});

test("one that is asked for again is not spare, and what was spare long ago is not either", () => {
  const pods = new SparePods();
  pods.ask(3, 0);
  pods.ask(1, 1);
  pods.ask(2, 2);
  expect([pods.takes(3), pods.takes(4)]).toEqual([true, false]);
  pods.ask(1, 5);
  expect(pods.takes(60_006)).toBe(false);
  pods.ask(0, 60_007);
  expect([pods.takes(60_008), pods.takes(200_000)]).toEqual([true, true]);
});
