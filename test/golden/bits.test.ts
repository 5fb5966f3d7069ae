import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bitDigests } from "./bits.js";

test("random numbers, orders, schedules, initial weights and optimisers have the bits that they always had", () => {
  expect(bitDigests()).toEqual(JSON.parse(readFileSync(new URL("bits.json", import.meta.url), "utf8")));
});
