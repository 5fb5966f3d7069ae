import { expect, test } from "vitest";
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
