import { expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import { initializeParameters } from "../../domain/training/initialize.js";
import { shuffledOrder } from "../../domain/training/sample-order.js";
import { planTraining, type TrainingPlan } from "../../domain/training/training-plan.js";
import type { Engine } from "../../platform/engine/engine.js";
import { openOnnxEngine } from "../../platform/engine/onnx/onnx.js";
import { randoms } from "../../test/conformance/engine/inputs.js";
import { featureCut } from "../../test/support/feature-cut.js";
import type { Evaluator } from "./evaluator.js";
import { OwnGrains } from "./own-grains.js";
import { train } from "./train-loop.js";
import { TrainingState } from "./training-state.js";

const engine = await openOnnxEngine({ threads: 2 });

function planOf(grains: number): TrainingPlan {
  const job = resolveJob({
    dataset: { source: "x" },
    head: { layers: [{ dense: { units: 1024, activation: "RELU" } }] },
    training: { steps: 3, batchSize: 8, grains, evaluateEverySteps: 3, optimizer: { rmsprop: { learningRate: 0.001 } } },
  });
  return planTraining(job, featureCut([4224]), { classes: ["a", "b"], counts: { train: [20, 20], validation: [4, 4], test: [0, 0] } });
}

/** Steps until a loss that is no number, or three. */
async function trained(plan: TrainingPlan, canBeParted: boolean, { features = randoms(40 * 4224, 1) } = {}) {
  const state = new TrainingState(plan);
  initializeParameters(state.parameters, plan.layout, { kind: "glorotUniform" }, 7);
  const rows = {
    views: [features],
    featureLength: 4224,
    labels: Int32Array.from({ length: 40 }, (_, row) => row % 2),
    classWeights: plan.classWeights,
  };
  let inParts = 0;
  const counting: Engine = {
    ...engine,
    compileGradientInParts: (...order) => {
      inParts++;
      return engine.compileGradientInParts!(...order);
    },
  };
  const order = shuffledOrder(1, 40, 8);
  const grains = await OwnGrains.open(plan, [{ first: 0, grains: plan.grains }], order, rows, counting, state.optimizer.sums, canBeParted);
  const evaluator = {
    evaluate: async () => state.history.push({ step: state.step } as (typeof state.history)[number]),
  } as unknown as Evaluator;
  const nothing = async (): Promise<void> => undefined;
  const hooks = { onStep: () => undefined, onEvaluation: nothing, saveCheckpoint: nothing, milestone: () => undefined };
  const outcome = await train({ plan, state, grains, evaluator, exchange: undefined }, hooks, new AbortController().signal).catch(
    (error: unknown) => error,
  );
  await grains.release();
  return { state, inParts, outcome };
}

function expectSameState(found: TrainingState, expected: TrainingState): void {
  expect(found.step).toBe(expected.step);
  expect(found.since).toEqual(expected.since);
  const vectors = (state: TrainingState): Float32Array[] => [state.parameters, ...state.optimizer.slots.values()];
  vectors(found).forEach((vector, i) => expect(vector.every((value, at) => Object.is(value, vectors(expected)[i]![at]))).toBe(true));
}

test("a large kernel that is updated part by part has the bits of one that is updated as a whole", async () => {
  const [parted, whole] = [await trained(planOf(1), true), await trained(planOf(1), false)];
  expect([parted.outcome, parted.inParts, whole.inParts]).toEqual(["finished", 1, 0]);
  expect(parted.state.parameters.some((value) => value !== 0)).toBe(true);
  expectSameState(parted.state, whole.state);
});

test("a loss that is no number leaves everything as it was after the step before", async () => {
  const features = randoms(40 * 4224, 1);
  const last = shuffledOrder(1, 40, 8).batch(2)[3]!;
  features.fill(NaN, last * 4224, (last + 1) * 4224);
  const [parted, whole] = [await trained(planOf(1), true, { features }), await trained(planOf(1), false, { features })];
  expect(parted.outcome).toMatchObject({ code: "TRAINING_DIVERGED", details: { step: 2 } });
  expect(whole.outcome).toEqual(parted.outcome);
  expect(parted.state.parameters.every(Number.isFinite)).toBe(true);
  expectSameState(parted.state, whole.state);
});

test("sums of several grains are needed as a whole", async () => {
  expect((await trained(planOf(2), true)).inParts).toBe(0);
});
