import assert from "node:assert";
import { describe, expect, test } from "vitest";
import type { Augmentation } from "../features/views.js";
import { FieldCheck } from "./field-check.js";
import { resolveViews } from "./resolve-views.js";
import type { ViewsSpec } from "./spec.js";

function resolved(given: ViewsSpec): ReturnType<typeof resolveViews> {
  const check = new FieldCheck();
  const views = resolveViews(given, check);
  assert.deepEqual(check.problems, []);
  return views;
}

function problemsOf(given: ViewsSpec): string[] {
  const check = new FieldCheck();
  resolveViews(given, check);
  return check.problems.map(({ path, message }) => `${path}: ${message}`);
}

describe("resolveViews", () => {
  test("one view is the plain picture", () => {
    const plain = { count: 1, augmentation: undefined };
    assert.deepStrictEqual(resolved({}), plain);
    assert.deepStrictEqual(resolved({ count: 1, horizontalFlip: false, verticalFlip: false }), plain);
  });

  const noFlips = { horizontalFlip: false, verticalFlip: false };
  test.each<[ViewsSpec, Augmentation]>([
    [{ horizontalFlip: true }, { ...noFlips, horizontalFlip: true }],
    [{ verticalFlip: true }, { ...noFlips, verticalFlip: true }],
    [{ randomResizedCrop: {} }, { ...noFlips, randomResizedCrop: { minScale: 0.08, maxScale: 1, minAspect: 0.75, maxAspect: 1.3333 } }],
    [
      { randomResizedCrop: { minScale: 1, minAspect: 1, maxAspect: 1 } },
      { ...noFlips, randomResizedCrop: { minScale: 1, maxScale: 1, minAspect: 1, maxAspect: 1 } },
    ],
    [{ randomCrop: { marginPercent: 10 } }, { ...noFlips, randomCrop: { marginPercent: 10, scalePercent: 0 } }],
    [{ rotation: { maxDegrees: 180 } }, { ...noFlips, rotation: { maxDegrees: 180 } }],
    [{ shift: { maxHeight: 0.2 } }, { ...noFlips, shift: { maxWidth: 0, maxHeight: 0.2 } }],
    [{ zoom: { min: 0.8 } }, { ...noFlips, zoom: { min: 0.8, max: 1 } }],
    [{ color: { saturation: 1 } }, { ...noFlips, color: { brightness: 0, contrast: 0, saturation: 1 } }],
  ])("%j: absent kinds are absent, numbers have their defaults", (given, augmentation) => {
    assert.deepStrictEqual(resolved({ count: 1000, ...given }), { count: 1000, augmentation });
  });

  test.each<[ViewsSpec, string]>([
    [{ count: 0 }, "views.count: must be a whole number between 1 and 1000, found 0"],
    [{ count: 1001, horizontalFlip: true }, "views.count: must be a whole number between 1 and 1000, found 1001"],
    [{ count: 2.5 }, "views.count: must be a whole number between 1 and 1000, found 2.5"],
    [{ horizontalFlip: true }, "views.count: must be at least 2, found 1: view 0 is the plain picture"],
    [{ count: 1, color: { contrast: 0.1 } }, "views.count: must be at least 2, found 1: view 0 is the plain picture"],
    [{ count: 4, horizontalFlip: false }, "views: 4 views need something that makes them differ: one of horizontalFlip, verticalFlip, "],
    [
      { count: 2, randomResizedCrop: {}, randomCrop: { scalePercent: 5 } },
      "views: randomResizedCrop and randomCrop exclude each other; keep one of them",
    ],
    [{ count: 2, randomResizedCrop: { minScale: 0 } }, "views.randomResizedCrop.minScale: must be > 0 and at most 1, found 0"],
    [{ count: 2, randomResizedCrop: { maxScale: 1.1 } }, "views.randomResizedCrop.maxScale: must be > 0 and at most 1, found 1.1"],
    [
      { count: 2, randomResizedCrop: { minScale: 0.5, maxScale: 0.4 } },
      "views.randomResizedCrop.maxScale: must be at least minScale (0.5), found 0.4",
    ],
    [{ count: 2, randomResizedCrop: { minAspect: 0.001 } }, "views.randomResizedCrop.minAspect: must be between 0.01 and 100, found 0.001"],
    [{ count: 2, randomResizedCrop: { minAspect: 2 } }, "views.randomResizedCrop.maxAspect: must be at least minAspect (2), found 1.3333"],
    [{ count: 2, randomCrop: {} }, "views.randomCrop: changes nothing; give a marginPercent, scalePercent above 0"],
    [{ count: 2, randomCrop: { marginPercent: 101 } }, "views.randomCrop.marginPercent: must be between 0 and 100, found 101"],
    [{ count: 2, rotation: {} }, "views.rotation.maxDegrees: is required: > 0 and at most 180"],
    [{ count: 2, rotation: { maxDegrees: 181 } }, "views.rotation.maxDegrees: must be > 0 and at most 180, found 181"],
    [{ count: 2, shift: { maxWidth: 0 } }, "views.shift: changes nothing; give a maxWidth, maxHeight above 0"],
    [{ count: 2, shift: { maxWidth: -0.1 } }, "views.shift.maxWidth: must be between 0 and 1, found -0.1"],
    [{ count: 2, zoom: {} }, "views.zoom: changes nothing; give min, max or both"],
    [{ count: 2, zoom: { min: 0.05 } }, "views.zoom.min: must be between 0.25 and 4, found 0.05"],
    [{ count: 2, zoom: { min: 1.2 } }, "views.zoom.max: must be at least min (1.2), found 1"],
    [{ count: 2, color: {} }, "views.color: changes nothing; give a brightness, contrast, saturation above 0"],
    [{ count: 2, color: { brightness: NaN } }, "views.color.brightness: must be between 0 and 1, found NaN"],
  ])("%j is refused", (given, expected) => {
    const problems = problemsOf(given);
    assert.equal(problems.length, 1, problems.join("\n"));
    expect(problems[0]).toContain(expected);
  });

  test("reports all problems at once", () => {
    assert.deepEqual(problemsOf({ count: 1, rotation: {}, zoom: { max: 11 }, color: { saturation: 2 } }), [
      "views.count: must be at least 2, found 1: view 0 is the plain picture",
      "views.rotation.maxDegrees: is required: > 0 and at most 180",
      "views.zoom.max: must be between 0.25 and 4, found 11",
      "views.color.saturation: must be between 0 and 1, found 2",
    ]);
  });
});
