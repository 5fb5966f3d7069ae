import { splitNames, type SplitName } from "../../domain/dataset/listing.js";
import type { FeatureArray, TrainingRows } from "../../domain/training/grains.js";
import { classBalancedOrder, shuffledOrder } from "../../domain/training/sample-order.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { BatchOrder } from "./own-grains.js";
import type { ResidentFeatures, TrainingSet } from "./training-set.js";

/** Where a trainer's features come from: memory (`residentRows`), or lanes (`StreamedRows`). */
export interface RowSource {
  /** Brings what this trainer needs into the order in which it is read; may take long, and holds no rows afterwards. */
  prepare(place: Place, signal: AbortSignal): Promise<void>;
  /** The batches of this trainer, from the step that it begins at. */
  openBatches(place: Place, signal: AbortSignal): Promise<Batches>;
  /** Rows of a split in the order in which they are evaluated; that of the image ids for validation and test. */
  split(name: SplitName, signal: AbortSignal): EvaluatedRows;
}

/** A trainer among those of its generation. */
export interface Place {
  readonly rank: number;
  readonly trainers: number;
}

/** Rows and the order in which they make batches; of the places of a batch those of the own grains count. */
export interface Batches {
  readonly order: BatchOrder;
  readonly rows: TrainingRows;
  close(): Promise<void>;
}

export interface EvaluatedRows {
  readonly rows: number;
  /** `[rows]`: class numbers. */
  readonly labels: Int32Array;
  /** Writes the features of rows `from` up to, not including, `to` to the beginning of `into`. */
  read(from: number, to: number, into: FeatureArray): Promise<void>;
}

/** Rows in memory. */
export function residentRows(plan: TrainingPlan, set: TrainingSet, features: ResidentFeatures): RowSource {
  const { recipe, classes, trainRows, batchSize, featureLength, classWeights } = plan;
  const { labels } = set.train;
  const split = (name: SplitName): EvaluatedRows => ({
    rows: set[name].rows,
    labels: set[name].labels,
    read: async (from, to, into) => into.set(features[name].subarray(from * featureLength, to * featureLength)),
  });
  const splits = Object.fromEntries(splitNames.map((name) => [name, split(name)])) as Record<SplitName, EvaluatedRows>;
  return {
    prepare: async () => undefined,
    openBatches: async () => ({
      order:
        recipe.sampling === "CLASS_BALANCED"
          ? classBalancedOrder(recipe.seed, labels, classes.length, batchSize)
          : shuffledOrder(recipe.seed, trainRows, batchSize),
      rows: { views: features.trainViews, featureLength, labels, classWeights },
      close: async () => undefined,
    }),
    split: (name) => splits[name],
  };
}
