import { expect, test } from "vitest";
import type { JobEvent } from "../domain/job/events.js";
import { EVALUATIONS_SHOWN_MAX, ShownEvaluations } from "./shown-evaluations.js";

function evaluation(step: number): JobEvent {
  return {
    kind: "evaluation",
    step,
    epoch: 1,
    crossEntropy: 1,
    trainAccuracy: 1,
    validationLoss: 1,
    validationAccuracy: 1,
    validationCount: 1,
    seconds: 1,
  };
}

/** Steps that are shown of a training that is evaluated every `every` steps, and how many are not. */
function shownOf(steps: number, every: number): { readonly shown: number[]; readonly hidden: number } {
  const evaluations = new ShownEvaluations();
  const events: JobEvent[] = [{ kind: "step", step: 1, steps, millisecondsPerStep: 0 }];
  for (let step = every; step < steps; step += every) events.push(evaluation(step));
  events.push(evaluation(steps), { kind: "phase", phase: "Evaluating" });
  const shown = events.flatMap((event) => evaluations.next(event)).flatMap((event) => (event.kind === "evaluation" ? [event.step] : []));
  return { shown, hidden: evaluations.hidden };
}

test("few evaluations are all shown", () => {
  expect(shownOf(52, 2)).toEqual({ shown: Array.from({ length: 26 }, (_, index) => 2 * (index + 1)), hidden: 0 });
});

test("of many evaluations some are shown, evenly, with the first and the last; the others are counted", () => {
  const { shown, hidden } = shownOf(4000, 10);
  expect(shown.length).toBe(EVALUATIONS_SHOWN_MAX + 1);
  expect([shown[0], shown[1], shown.at(-1)]).toEqual([10, 110, 4000]);
  expect(shown.length + hidden).toBe(400);
});

test("whatever ends the training, its last evaluation is shown before", () => {
  const evaluations = new ShownEvaluations();
  evaluations.next({ kind: "step", step: 1, steps: 4000, millisecondsPerStep: 0 });
  expect(evaluations.next(evaluation(10)).length).toBe(1);
  expect(evaluations.next(evaluation(20))).toEqual([]);
  expect(evaluations.next({ kind: "phase", phase: "Evaluating" })).toEqual([evaluation(20), { kind: "phase", phase: "Evaluating" }]);
});
