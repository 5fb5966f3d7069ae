import { expect, test } from "vitest";
import { milestones } from "../../domain/job/records.js";
import { faultKinds } from "./faults.js";
import { describe, simulate } from "./simulate.js";

const SEEDS = 50;

test(`${SEEDS} seeds: whatever happens, the job ends with the result of the undisturbed run, every picture is in one committed row, and nothing of an older generation counts`, async () => {
  const faults = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const outcome = await simulate(seed);
    if (outcome.violations.length > 0) expect.fail(describe(outcome));
    for (const [kind, times] of outcome.faults) faults.set(kind, (faults.get(kind) ?? 0) + times);
  }
  // A fault that never happens tests nothing.
  const kinds = [...faultKinds, "lost", "repeated", "slow", "broken", "late", "storeFailures", "unreadable", "torn upload"];
  expect(kinds.filter((kind) => !faults.has(kind))).toEqual([]);
  expect(milestones.filter((milestone) => faults.has(`ambush at "${milestone}"`)).length).toBeGreaterThan(milestones.length / 2);
});

test("a seed repeats its world", async () => {
  const [first, second] = [await simulate(7), await simulate(7)];
  expect(second.journal).toEqual(first.journal);
  expect([second.ticks, second.virtualMs]).toEqual([first.ticks, first.virtualMs]);
});
