import { expect, test } from "vitest";
import { TextColumn } from "./text-column.js";

test("texts come back as they were: any script, empty, longer than a block, more than were expected", () => {
  const column = new TextColumn(2);
  const texts = [
    "",
    "a/b.jpg",
    "花/ü🌻.jpg",
    "x".repeat(3_000_000),
    "ü".repeat(3_000_000),
    "after",
    ...Array.from({ length: 3_000 }, (_, n) => `p${String(n)}`),
  ];
  for (const text of texts) column.push(text);
  expect(column.length).toBe(texts.length);
  expect(texts.every((text, index) => column.at(index) === text)).toBe(true);
});
