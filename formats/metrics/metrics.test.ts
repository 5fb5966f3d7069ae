import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { encodeMetrics, noSplit, type Metrics } from "./metrics.js";

const metrics: Metrics = {
  formatVersion: 1,
  classes: ["daisy", "roses"],
  train: { accuracy: 0.99, loss: 0.01, count: 80, steps: 400 },
  validation: { accuracy: 0.9, loss: 0.2, count: 10 },
  test: noSplit,
  perClass: { split: "validation", classes: [{ label: "daisy", precision: 1, recall: 0.5, f1: 2 / 3, support: 5 }] },
  weightsSha256: "ab".repeat(32),
  extraction: { extracted: 0, cached: 100, rejected: 1, imagesPerSecond: null },
  training: { millisecondsPerStep: 1.25 },
};

describe("metrics.json", () => {
  test("holds every field that the command line promises, null where there is no split", () => {
    const read = JSON.parse(encodeMetrics(metrics)) as Metrics;
    assert.deepEqual(read, metrics);
    assert.deepEqual(read.test, { accuracy: null, loss: null, count: null });
  });

  test("has one order of fields and no others", () => {
    const { training, ...others } = metrics;
    const shuffled = { training, secret: "no", ...others } as Metrics;
    assert.equal(encodeMetrics(shuffled), encodeMetrics(metrics));
  });

  test("refuses what JSON cannot say", () => {
    assert.throws(() => encodeMetrics({ ...metrics, test: { accuracy: 1, loss: NaN, count: 3 } }), {
      code: "TRAINING_DIVERGED",
      message: /loss is NaN/,
    });
  });
});
