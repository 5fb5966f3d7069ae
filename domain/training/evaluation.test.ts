import { expect, test } from "vitest";
import {
  classScores,
  confusionMatrix,
  evaluationGrainRows,
  evaluationGrains,
  misclassifiedRows,
  predictClasses,
  probabilitiesOf,
  sumLeaves,
} from "./evaluation.js";

test("grains cover every row once", () => {
  expect([0, 1, 256, 257, 1_000].map((rows) => evaluationGrains(rows, 256))).toEqual([0, 1, 1, 2, 4]);
  expect([0, 3].map((grain) => evaluationGrainRows(1_000, 256, grain))).toEqual([
    { from: 0, to: 256 },
    { from: 768, to: 1_000 },
  ]);
});

test("losses are added along the tree in float32, counts as whole numbers", () => {
  const losses = [1e8, 1, -1e8, 1, 3];
  const leaves = Float32Array.from(losses.flatMap((loss) => [loss, 2, 256]));
  const f = Math.fround;
  expect(sumLeaves(leaves)).toEqual({ loss: f(f(f(1e8 + 1) + f(-1e8 + 1)) + 3), correct: 10, rows: 1_280 });
  expect(sumLeaves(new Float32Array(0))).toEqual({ loss: 0, correct: 0, rows: 0 });
});

test("predicted classes: the largest logit, of equal ones the first; one logit by its sign", () => {
  const into = new Int32Array(4).fill(-1);
  predictClasses(Float32Array.of(1, 3, 2, 5, 5, 0), 2, 3, into, 1);
  expect([...into]).toEqual([-1, 1, 0, -1]);
  predictClasses(Float32Array.of(0.1, 0, -2), 3, 1, into, 0);
  expect([...into]).toEqual([1, 0, 0, -1]);
});

test("probabilities", () => {
  const softmax = probabilitiesOf("softmax", Float32Array.of(1, 2, 3));
  [0.09003057317038046, 0.24472847105479764, 0.6652409557748218].forEach((p, i) => expect(softmax[i]).toBeCloseTo(p, 15));
  expect(probabilitiesOf("softmax", Float32Array.of(1_000, -1_000))).toEqual([1, 0]);
  const [no, yes] = probabilitiesOf("sigmoid", Float32Array.of(-30));
  expect(yes! / 9.357622968840175e-14).toBeCloseTo(1, 12); // 1 / (1 + e^30)
  expect(no! + yes!).toBe(1);
  expect(probabilitiesOf("sigmoid", Float32Array.of(200))[1]).toBe(1);
});

test("confusion matrix and scores as scikit-learn gives them", () => {
  const labels = [0, 0, 0, 1, 1, 2, 2, 2, 2, 0];
  const predicted = [0, 1, 0, 1, 1, 2, 0, 2, 2, 0];
  const matrix = confusionMatrix(labels, predicted, 4);
  expect(matrix).toEqual([
    [3, 1, 0, 0],
    [0, 2, 0, 0],
    [1, 0, 3, 0],
    [0, 0, 0, 0],
  ]);
  // sklearn.metrics.precision_recall_fscore_support(labels, predicted)
  expect(classScores(matrix)).toEqual([
    { precision: 0.75, recall: 0.75, f1: 0.75, support: 4 },
    { precision: 2 / 3, recall: 1, f1: 0.8, support: 2 },
    { precision: 1, recall: 0.75, f1: 6 / 7, support: 4 },
    { precision: null, recall: null, f1: null, support: 0 },
  ]);
  expect(misclassifiedRows(labels, predicted)).toEqual([1, 6]);
  expect(() => confusionMatrix([5], [0], 4)).toThrow(/label 5/u);
});
