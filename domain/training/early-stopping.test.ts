import { expect, test } from "vitest";
import { afterEvaluation, shouldStop, stoppingStart } from "./early-stopping.js";

/** Evaluations until the stop, and the best step, for `correct` of 100 at steps 10, 20, … */
function run(
  correct: readonly number[],
  patienceEvaluations: number,
  minimumDelta = 0,
): { evaluations: number; best: number | undefined; stopped: boolean } {
  let state = stoppingStart;
  for (const [index, hits] of correct.entries()) {
    state = afterEvaluation(state, { step: 10 * (index + 1), correct: hits, count: 100 }, minimumDelta);
    if (shouldStop(state, { patienceEvaluations, minimumDelta }))
      return { evaluations: state.evaluations, best: state.best?.step, stopped: true };
  }
  return { evaluations: state.evaluations, best: state.best?.step, stopped: false };
}

test("stops after so many evaluations without improvement; of equal ones the earliest is the best", () => {
  expect(run([50, 60, 60, 55, 60, 70], 3)).toEqual({ evaluations: 5, best: 20, stopped: true });
  expect(run([50, 60, 60, 61, 60, 60], 3)).toEqual({ evaluations: 6, best: 40, stopped: false });
  expect(run([50, 50], 1)).toEqual({ evaluations: 2, best: 10, stopped: true });
});

test("small gains below minimumDelta do not buy patience, yet count as the best", () => {
  expect(run([50, 52, 54, 56, 58], 3, 0.05)).toEqual({ evaluations: 5, best: 50, stopped: false });
  expect(run([50, 52, 53, 54, 80], 3, 0.05)).toEqual({ evaluations: 4, best: 40, stopped: true });
});

test("the state goes through JSON, so a checkpoint can hold it", () => {
  const state = afterEvaluation(stoppingStart, { step: 10, correct: 1, count: 3 }, 0);
  expect(JSON.parse(JSON.stringify(state))).toEqual(state);
});
