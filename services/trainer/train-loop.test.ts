import { expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import { planTraining } from "../../domain/training/training-plan.js";
import { featureCut } from "../../test/support/feature-cut.js";
import type { Evaluator } from "./evaluator.js";
import type { OwnGrains } from "./own-grains.js";
import { train } from "./train-loop.js";
import { TrainingState } from "./training-state.js";

/** Sixty steps with an evaluation every ten, on a fake engine whose gradient is all ones. */
function setup({ lossAt = (_step: number): number => 1 } = {}) {
  const job = resolveJob({
    dataset: { source: "x" },
    training: { steps: 60, batchSize: 8, evaluateEverySteps: 10, optimizer: { sgd: { learningRate: 0.5 } } },
  });
  const plan = planTraining(job, featureCut([3]), { classes: ["a", "b"], counts: { train: [20, 20], validation: [4, 4], test: [0, 0] } });
  const sums = new Float32Array(plan.layout.length + 2).fill(1);
  const grains = {
    sums: async (step: number) => {
      sums[sums.length - 2] = lossAt(step);
      return [{ first: 0, grains: 8, values: sums }];
    },
    update: async (...[optimizer, ...factors]: Parameters<OwnGrains["update"]>) => optimizer.update(...factors),
  } as unknown as OwnGrains;
  const evaluatedAt: number[] = [];
  const savedAt: number[] = [];
  let onEvaluate = (): void => undefined;
  const evaluator = {
    evaluate: async (state: TrainingState, _exchange: unknown, signal: AbortSignal) => {
      onEvaluate();
      signal.throwIfAborted();
      evaluatedAt.push(state.step);
      state.evaluated(
        {
          step: state.step,
          epoch: 0,
          train: { loss: 1, accuracy: 1 },
          validation: null,
          learningRate: 1,
          wallMs: 0,
          seconds: 0,
          layers: null,
        },
        undefined,
      );
    },
  } as unknown as Evaluator;
  const state = new TrainingState(plan);
  const hooks = {
    onStep: async () => undefined,
    onEvaluation: async () => undefined,
    saveCheckpoint: async () => void savedAt.push(state.step),
    milestone: () => undefined,
  };
  const run = (signal: AbortSignal): Promise<string> => train({ plan, state, grains, evaluator, exchange: undefined }, hooks, signal);
  return { run, state, plan, evaluatedAt, savedAt, whileEvaluating: (action: () => void) => (onEvaluate = action) };
}

test("evaluates when it is time, saves at its points and at the end", async () => {
  const { run, evaluatedAt, savedAt } = setup();
  expect(await run(new AbortController().signal)).toBe("finished");
  expect(evaluatedAt).toEqual([10, 20, 30, 40, 50, 60]);
  expect(savedAt).toEqual([50, 60]);
  // Taken up again at its end, for an export that was cut off: nothing is evaluated twice.
  expect(await run(new AbortController().signal)).toBe("finished");
  expect(evaluatedAt).toEqual([10, 20, 30, 40, 50, 60]);
});

test("interrupted in the middle of an evaluation: the state of that step is saved, and whoever goes on makes up for the evaluation", async () => {
  const { run, state, evaluatedAt, savedAt, whileEvaluating } = setup();
  const stop = new AbortController();
  whileEvaluating(() => state.step === 30 && stop.abort(new Error("interrupted")));
  expect(await run(stop.signal)).toBe("interrupted");
  expect([evaluatedAt, savedAt]).toEqual([[10, 20], [30]]);

  whileEvaluating(() => undefined);
  expect(await run(new AbortController().signal)).toBe("finished");
  expect(evaluatedAt).toEqual([10, 20, 30, 40, 50, 60]);
});

test("a failure is thrown, not taken for an interruption, whatever the signal says", async () => {
  const { run, whileEvaluating, savedAt } = setup();
  const stop = new AbortController();
  whileEvaluating(() => {
    stop.abort(new Error("stopped"));
    throw new Error("a bug");
  });
  await expect(run(stop.signal)).rejects.toThrow("a bug");
  expect(savedAt).toEqual([]);
});

test("a loss that is no number ends the training at that step", async () => {
  const { run, state } = setup({ lossAt: (step) => (step === 17 ? NaN : 1) });
  await expect(run(new AbortController().signal)).rejects.toMatchObject({ code: "TRAINING_DIVERGED", details: { step: 17 } });
  expect(state.step).toBe(17);
});
