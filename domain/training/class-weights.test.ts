import { expect, test } from "vitest";
import { classWeightsOf } from "./class-weights.js";

const classes = ["daisy", "rose", "tulip"];

test("none, balanced as in scikit-learn, given by name", () => {
  expect([...classWeightsOf({ kind: "none" }, classes, [1, 2, 3])]).toEqual([1, 1, 1]);
  // sklearn.utils.class_weight.compute_class_weight("balanced", classes=[0, 1, 2], y=[0] * 10 + [1] * 20 + [2] * 30)
  expect([...classWeightsOf({ kind: "balanced" }, classes, [10, 20, 30])]).toEqual([2, 1, Math.fround(2 / 3)]);
  expect([...classWeightsOf({ kind: "given", weights: { rose: 3 } }, classes, [1, 2, 3])]).toEqual([1, 3, 1]);
});

test("unknown names and empty classes are named", () => {
  expect(() => classWeightsOf({ kind: "given", weights: { lily: 3 } }, classes, [1, 2, 3])).toThrow(
    /no class is named "lily"; the classes are "daisy", "rose", "tulip"/u,
  );
  expect(() => classWeightsOf({ kind: "balanced" }, classes, [1, 0, 3])).toThrow(/class "rose" has no training pictures/u);
  expect([...classWeightsOf({ kind: "given", weights: {} }, ["constructor"], [1])]).toEqual([1]);
});
