import { expect, test } from "vitest";
import { errorCodes } from "../errors.js";
import { conditionsOf, mergeConditions, reasonOf } from "./conditions.js";
import type { JobCondition } from "./resource.js";
import { type JobStatus, pendingStatus } from "./status.js";
import { isFinal, phases } from "./transitions.js";

const of = (change: Partial<JobStatus>): readonly JobCondition[] => conditionsOf({ ...pendingStatus, ...change });
const brief = (change: Partial<JobStatus>): string[] => of(change).map(({ type, status, reason }) => `${type}=${status} ${reason}`);

test("a job that gets on: its phase is the reason, and there is neither Complete nor Failed", () => {
  for (const phase of phases.filter((each) => !isFinal(each)))
    expect(brief({ phase })).toEqual([`Progressing=True ${phase}`, "Suspended=False NotSuspended"]);
});

test("ends", () => {
  const time = { lastTransitionTime: "1970-01-01T00:00:05.000Z" };
  expect(brief({ phase: "Complete" })).toEqual(["Complete=True Complete", "Progressing=False Complete", "Suspended=False NotSuspended"]);
  expect(of({ phase: "Complete", endedMs: 5_000 })[0]).toMatchObject(time);
  const failure = { code: "WORKER_OUT_OF_MEMORY", message: "too much" };
  const failed = of({ phase: "Failed", endedMs: 5_000, failure });
  expect(failed[0]).toEqual({ type: "Failed", status: "True", reason: "WorkerOutOfMemory", message: "too much", ...time });
  expect(failed[1]).toMatchObject({ type: "Progressing", status: "False", reason: "WorkerOutOfMemory" });
  expect(brief({ phase: "Cancelled" })).toEqual(["Failed=True Cancelled", "Progressing=False Cancelled", "Suspended=False NotSuspended"]);
});

test("why a job stands still: by request, for its workers, or for a failure that passes; a remark is no hindrance", () => {
  expect(brief({ phase: "Training", suspended: true })).toEqual(["Progressing=False Suspended", "Suspended=True Suspended"]);
  const blocked = { code: "IMAGE_PULL_FAILED", message: "image x" };
  expect(brief({ phase: "Planning", workers: { blocked } })[0]).toBe("Progressing=False ImagePullFailed");
  expect(brief({ phase: "Planning", suspended: true, workers: { blocked } })[0]).toBe("Progressing=False Suspended");
  expect(brief({ phase: "Training", failure: { code: "STORE_UNAVAILABLE", message: "away" } })[0]).toBe(
    "Progressing=False StoreUnavailable",
  );
  expect(of({ phase: "Training", workers: { remark: "one is slow" } })[0]).toEqual({
    type: "Progressing",
    status: "True",
    reason: "Training",
    message: "one is slow",
  });
});

test("every code makes a reason that Kubernetes takes", () => {
  expect(reasonOf("IMAGE_PULL_FAILED")).toBe("ImagePullFailed");
  const reasons = Object.keys(errorCodes).map(reasonOf);
  for (const reason of reasons) expect(reason).toMatch(/^[A-Z][A-Za-z]+$/);
  expect(new Set(reasons).size).toBe(reasons.length);
});

test("the time of a condition changes with its status only; conditions that are no more go", () => {
  const old = { lastTransitionTime: "then", observedGeneration: 1 };
  const before: JobCondition[] = [
    { type: "Progressing", status: "True", reason: "Extracting", message: "", ...old },
    { type: "Suspended", status: "True", reason: "Suspended", message: "", ...old },
    { type: "Foreign", status: "True", reason: "X", message: "", ...old },
  ];
  const merged = mergeConditions(before, of({ phase: "Training" }), { time: "now", generation: 2 });
  expect(merged).toEqual([
    { type: "Progressing", status: "True", reason: "Training", message: "", lastTransitionTime: "then", observedGeneration: 2 },
    { type: "Suspended", status: "False", reason: "NotSuspended", message: "", lastTransitionTime: "now", observedGeneration: 2 },
  ]);
  const [end] = mergeConditions([], of({ phase: "Complete", endedMs: 0 }), { time: "now", generation: undefined });
  expect(end).toMatchObject({ lastTransitionTime: "1970-01-01T00:00:00.000Z" });
  expect(end).not.toHaveProperty("observedGeneration");
});
