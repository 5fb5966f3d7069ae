import { expect, test } from "vitest";
import { phases } from "./transitions.js";
import { workerCounts, type WorkerNeed } from "./worker-counts.js";

const need: WorkerNeed = {
  phase: "Extracting",
  suspended: false,
  openTasks: 40,
  wantedTrainers: undefined,
  extractors: { min: 0, max: 16 },
  trainers: { min: 1, max: 4 },
};
const counts = (change: Partial<WorkerNeed>) => workerCounts({ ...need, ...change });

test("one worker of each role plans, extractors follow the tasks that are left, trainers what the training asks for", () => {
  expect(counts({ phase: "Pending" })).toEqual({ extractor: 0, trainer: 0 });
  expect(counts({ phase: "Planning", openTasks: undefined })).toEqual({ extractor: 1, trainer: 1 });
  expect(counts({})).toEqual({ extractor: 16, trainer: 0 });
  expect(counts({ openTasks: 3 })).toEqual({ extractor: 3, trainer: 1 });
  expect(counts({ openTasks: 0 })).toEqual({ extractor: 0, trainer: 1 });
  expect(counts({ phase: "Training" })).toEqual({ extractor: 0, trainer: 1 });
  expect(counts({ phase: "Training", wantedTrainers: 3 })).toEqual({ extractor: 0, trainer: 3 });
  expect(counts({ phase: "Exporting", wantedTrainers: 8 })).toEqual({ extractor: 0, trainer: 4 });
});

test("extractors.min are there from the start to the last task, and never more than max", () => {
  const extractors = { min: 2, max: 4 };
  expect(counts({ phase: "Scanning", extractors }).extractor).toBe(2);
  expect(counts({ openTasks: 0, extractors }).extractor).toBe(2);
  expect(counts({ openTasks: 9, extractors }).extractor).toBe(4);
  expect(counts({ phase: "Training", extractors }).extractor).toBe(0);
});

test("a job that stands still or has ended has none", () => {
  for (const phase of phases) expect(counts({ phase, suspended: true })).toEqual({ extractor: 0, trainer: 0 });
  for (const phase of ["Complete", "Failed", "Cancelled"] as const) expect(counts({ phase })).toEqual({ extractor: 0, trainer: 0 });
});
