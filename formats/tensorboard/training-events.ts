import type { TensorStatistics } from "../../domain/training/histogram.js";
import type { LayerHistograms } from "../../domain/training/history.js";
import type { SummaryEvent } from "./event-file.js";

/** What one evaluation of a training run saw. */
export interface TrainingSnapshot {
  readonly step: number;
  /** Seconds since the Unix epoch. */
  readonly wallSeconds: number;
  /** Null before the first step. */
  readonly train: LossAndAccuracy | null;
  /** Undefined where there is no validation split. */
  readonly validation: LossAndAccuracy | undefined;
  readonly learningRate: number;
  /** By layer, e.g. `head/output`. */
  readonly layers: ReadonlyMap<string, LayerHistograms>;
}

interface LossAndAccuracy {
  readonly loss: number;
  readonly accuracy: number;
}

/** Last part of the tags, as in TensorFlow's retraining example. */
const tagOf = {
  weights: "weights",
  biases: "biases",
  preActivations: "pre_activations",
  activations: "activations",
} as const satisfies Record<keyof LayerHistograms, string>;

const kinds = Object.keys(tagOf) as (keyof LayerHistograms)[];

/**
 * `train/loss`, `train/accuracy`, `validation/loss`, `validation/accuracy`, `learning_rate` and, for every layer and kind, a histogram `LAYER/KIND`
 * with the scalars `LAYER/KIND/mean`, `…/deviation`, `…/minimum`, `…/maximum`.
 */
export function trainingEvent(snapshot: TrainingSnapshot): SummaryEvent {
  const scalars = new Map<string, number>();
  if (snapshot.train !== null) {
    scalars.set("train/loss", snapshot.train.loss);
    scalars.set("train/accuracy", snapshot.train.accuracy);
  }
  if (snapshot.validation !== undefined) {
    scalars.set("validation/loss", snapshot.validation.loss);
    scalars.set("validation/accuracy", snapshot.validation.accuracy);
  }
  scalars.set("learning_rate", snapshot.learningRate);

  const histograms = new Map<string, TensorStatistics>();
  for (const [layer, statistics] of snapshot.layers) {
    for (const kind of kinds) {
      const tensor = statistics[kind];
      if (tensor === undefined || tensor.count === 0) continue;
      const tag = `${layer}/${tagOf[kind]}`;
      histograms.set(tag, tensor);
      for (const moment of ["mean", "deviation", "minimum", "maximum"] as const) scalars.set(`${tag}/${moment}`, tensor[moment]);
    }
  }
  return { step: snapshot.step, wallSeconds: snapshot.wallSeconds, scalars, histograms };
}
