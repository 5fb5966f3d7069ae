import { describe, expect, test } from "vitest";
import { featureCut } from "../../test/support/feature-cut.js";
import { resolveJob } from "../job/resolve.js";
import type { TrainingSpec } from "../job/spec.js";
import { planTraining, type TrainingPlan } from "./training-plan.js";

function plan(training: TrainingSpec, train: readonly number[] = [20, 30]): TrainingPlan {
  const job = resolveJob({ dataset: { source: "pictures" }, training });
  const none = train.map(() => 0);
  return planTraining(job, featureCut([4]), {
    classes: train.map((_, label) => `${label}`),
    counts: { train, validation: none, test: none },
  });
}

test("sigmoid has one logit for two classes, and no more classes than that", () => {
  expect(plan({ loss: "SIGMOID_CROSS_ENTROPY" }).outputs).toBe(1);
  expect(plan({}).outputs).toBe(2);
  expect(() => plan({ loss: "SIGMOID_CROSS_ENTROPY" }, [20, 30, 10])).toThrow(/SIGMOID_CROSS_ENTROPY is for two classes, found 3/u);
});

test("epochs that do not divide are rounded up to steps, and there is always one", () => {
  expect(plan({ epochs: 3, batchSize: 32 }).steps).toBe(5);
  expect(plan({ epochs: 1, batchSize: 96 }).steps).toBe(1);
  expect(plan({ epochs: 0.001 }, [1, 0]).steps).toBe(1);
});

test("one step is evaluated once and its histograms are kept", () => {
  expect(plan({ steps: 1 })).toMatchObject({ steps: 1, evaluateEverySteps: 1, histogramEverySteps: 1 });
});

describe("features that are larger than the memory for them", () => {
  const rows = 10_000;
  const job = (training: TrainingSpec): TrainingPlan => {
    const resolved = resolveJob({ dataset: { source: "pictures" }, training });
    const split = [rows / 2, rows / 2];
    return planTraining(resolved, featureCut([1280]), { classes: ["a", "b"], counts: { train: split, validation: [0, 0], test: [0, 0] } });
  };
  const mebibytes = (rows * 5120) / (1024 * 1024);

  test("are streamed, by what the spec and the number of rows say alone", () => {
    expect(job({}).streaming).toBeUndefined();
    expect(job({ featureMemoryMib: Math.ceil(mebibytes) }).streaming).toBeUndefined();
    // 48 MiB, of which half is two windows of each of 8 lanes: 307 rows of 5,120 bytes each.
    expect(job({ featureMemoryMib: Math.floor(mebibytes) }).streaming).toEqual({ chunkRows: 38, windowChunks: 8 });
    expect(job({ featureMemoryMib: Math.floor(mebibytes), grains: 1 }).streaming).toEqual({ chunkRows: 307, windowChunks: 8 });
  });

  test("views count", () => {
    const views = { count: 2, horizontalFlip: true };
    const resolved = resolveJob({ dataset: { source: "pictures" }, views, training: { featureMemoryMib: 60 } });
    const counts = { train: [rows / 2, rows / 2], validation: [0, 0], test: [0, 0] };
    expect(planTraining(resolved, featureCut([1280]), { classes: ["a", "b"], counts }).streaming).toBeDefined();
    expect(job({ featureMemoryMib: 60 }).streaming).toBeUndefined();
  });

  test("are refused where a window does not hold a grain, where rows are drawn with replacement, where there is no whole batch", () => {
    expect(() => job({ featureMemoryMib: 1 })).toThrow(
      /^the features need 49 MiB, training\.featureMemoryMib is 1, and streaming needs at least 2 MiB; raise it/u,
    );
    expect(job({ featureMemoryMib: 2 }).streaming).toBeDefined();
    expect(() => job({ featureMemoryMib: 40, sampling: "CLASS_BALANCED" })).toThrow(/CLASS_BALANCED .* raise training\.featureMemoryMib/u);
    expect(() => job({ featureMemoryMib: 40, batchSize: 20_000, grains: 1 })).toThrow(
      /at least one batch of 20000 training rows, found 10000/u,
    );
  });
});
