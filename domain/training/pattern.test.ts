import { expect, test } from "vitest";
import { matchesTensor } from "./pattern.js";

test.each([
  ["head/output", "head/output/bias", true],
  ["head/output/bias", "head/output/bias", true],
  ["head/*", "head/output/bias", true],
  ["*/bias", "head/output/bias", true],
  ["*/bias", "head/output/kernel", false],
  ["*", "head/output/kernel", true],
  ["", "head/output/kernel", false],
  ["head", "head/output/kernel", false],
  ["h*d*o*l", "head/output/kernel", true],
  ["head/*output", "head/output/bias", true],
  ["ab*ba", "aba/bias", false],
  ["a*b*b", "a1b/bias", false],
  ["a*b*b", "a1b2b/bias", true],
  ["head.output", "head/output/bias", false],
  ["[a-z]*", "head/output/bias", false],
])("%j and %s: %s", (pattern, name, expected) => {
  expect(matchesTensor(pattern, name)).toBe(expected);
});

test("a pattern with many stars takes no time", () => {
  expect(matchesTensor(`${"*a".repeat(40)}*c`, `${"a".repeat(100)}/bias`)).toBe(false);
});
