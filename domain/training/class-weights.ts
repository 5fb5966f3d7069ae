import assert from "node:assert";
import { CodedError } from "../errors.js";
import type { Recipe } from "../job/job.js";

/**
 * What a training row of each class counts in loss and gradient, `[classes]`. balanced: n / (k n_c) for n rows, k classes and n_c rows of class c, as in scikit-learn.
 * given: by class name; classes that are not named count 1.
 * @throws CodedError SPEC_INVALID where a given name is no class; DATASET_INVALID where a class to be balanced has no rows.
 */
export function classWeightsOf(weights: Recipe["classWeights"], classes: readonly string[], counts: readonly number[]): Float32Array {
  assert(counts.length === classes.length, `${counts.length} counts for ${classes.length} classes`);
  switch (weights.kind) {
    case "none":
      return new Float32Array(classes.length).fill(1);
    case "balanced": {
      const total = counts.reduce((sum, count) => sum + count, 0);
      return Float32Array.from(counts, (count, index) => {
        if (count === 0) {
          throw new CodedError(
            "DATASET_INVALID",
            `training.classWeights.balanced: class ${JSON.stringify(classes[index])} has no training pictures; add some or remove the class`,
          );
        }
        return total / (classes.length * count);
      });
    }
    case "given": {
      const unknown = Object.keys(weights.weights).filter((name) => !classes.includes(name));
      if (unknown.length > 0) {
        const names = unknown.map((name) => JSON.stringify(name)).join(", ");
        throw new CodedError(
          "SPEC_INVALID",
          `training.classWeights.given.weights: no class is named ${names}; the classes are ${classes.map((name) => JSON.stringify(name)).join(", ")}`,
          { unknown },
        );
      }
      const given = new Map(Object.entries(weights.weights));
      return Float32Array.from(classes, (name) => given.get(name) ?? 1);
    }
  }
}
