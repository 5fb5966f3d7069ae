import { expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import { planTraining } from "../../domain/training/training-plan.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Evaluation } from "../../platform/engine/engine.js";
import { featureCut } from "../../test/support/feature-cut.js";
import { virtualClock } from "../../test/support/virtual-clock.js";
import { Evaluator } from "./evaluator.js";
import type { Exchange } from "./exchange.js";
import type { EvaluatedRows } from "./row-sources.js";
import { TrainingState } from "./training-state.js";

const clock: Clock = virtualClock();

test("every trainer keeps the histograms, so that they survive the one that reports", async () => {
  const job = resolveJob({ dataset: { source: "x" }, training: { steps: 60, batchSize: 8, evaluateEverySteps: 10 } });
  const plan = planTraining(job, featureCut([3]), { classes: ["a", "b"], counts: { train: [20, 20], validation: [4, 4], test: [0, 0] } });
  const rows = { rows: 8, labels: new Int32Array(8), read: async () => undefined } as unknown as EvaluatedRows;
  const evaluation = {
    rows: plan.evaluationRows,
    run: async () => ({ loss: 1, correct: 1, logits: new Float32Array(8 * plan.outputs) }),
    activations: async () => new Map(),
  } as unknown as Evaluation;
  const exchange = { gather: async () => Float32Array.of(1, 4, 8) } as unknown as Exchange;
  const layersOf = async (rank: number) => {
    const state = new TrainingState(plan);
    state.step = 10;
    const evaluator = new Evaluator(plan, rows, evaluation, clock, { rank, trainers: 2 });
    await evaluator.evaluate(state, exchange, new AbortController().signal);
    return state.history.at(-1)?.layers;
  };
  const reported = await layersOf(0);
  expect(Object.keys(reported ?? {})).not.toEqual([]);
  expect(await layersOf(1)).toEqual(reported);
});
