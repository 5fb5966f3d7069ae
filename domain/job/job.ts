import type { SplitSpec } from "../dataset/split.js";
import type { Augmentation } from "../features/views.js";
import type { EngineName } from "../training/trainable-layers.js";
import type { Preprocessing } from "../network/preprocessing.js";
import type { LossSpec } from "../training/loss.js";

/** A job spec with every default filled in: what the services work from. Made by `resolveJob`; nothing in it depends on the machine. */
export interface ResolvedJob {
  readonly dataset: {
    readonly source: string;
    /** For what the dataset does not give itself (`assignedSplit`). */
    readonly split: SplitSpec;
    readonly maxRejectedPercent: number;
  };
  readonly backbone: { readonly name: string; readonly digest: string | undefined; readonly lastLayer: string | undefined };
  /** Overrides of the backbone's preprocessing. */
  readonly preprocessing: Partial<Preprocessing>;
  readonly cut: string | undefined;
  /** `augmentation` is there where `count` is above 1. */
  readonly views: { readonly count: number; readonly augmentation: Augmentation | undefined };
  readonly head: {
    readonly layers: readonly HeadLayer[];
    readonly initializer: Initializer;
    /** A class of the backbone's own classifier and of the dataset. */
    readonly initialFromClass: string | undefined;
  };
  readonly initialWeights: InitialWeights;
  readonly training: Recipe;
  readonly minimumAccuracy: number;
  readonly extractors: Workers;
  readonly trainers: Workers;
  /** What computes; undefined: the default (`trainingEngine` in domain/training/trainable-layers.ts). */
  readonly engines: { readonly extraction: EngineName | undefined; readonly training: EngineName | undefined };
  readonly numericsProfile: "PINNED" | "ANY";
  /** Features and identities of pictures are shared among jobs of one domain only (domain/features/cache-domain.ts); `""`: those without one, in whose place the maker of a job's record on Kubernetes puts the namespace. Shapes no result. */
  readonly cacheDomain: string;
}

/** What everything that is trained starts from: the backbone's weights (the head from its initialiser), no weights at all, or the tensors of a result, with prefixes of names changed. */
export type InitialWeights =
  | { readonly kind: "backbone" }
  | { readonly kind: "random" }
  | { readonly kind: "result"; readonly from: string; readonly strip: string; readonly add: string };

export type HeadLayer =
  | { readonly kind: "dense"; readonly units: number; readonly activation: "NONE" | "RELU" }
  | { readonly kind: "dropout"; readonly rate: number };

export type Initializer =
  { readonly kind: "glorotUniform" } | { readonly kind: "truncatedNormal"; readonly stddev: number } | { readonly kind: "zeros" };

export interface Recipe {
  /** Steps, or epochs that mean ceil(epochs x training rows / batch size) steps. */
  readonly length: { readonly steps: number } | { readonly epochs: number };
  readonly batchSize: number;
  readonly grains: number;
  readonly optimizer: Optimizer;
  readonly schedule: Schedule;
  readonly learningRateMultipliers: readonly { readonly layers: string; readonly factor: number }[];
  readonly weightDecay: number;
  readonly weightDecayExempt: readonly string[];
  readonly loss: LossSpec;
  readonly classWeights:
    | { readonly kind: "none" }
    | { readonly kind: "balanced" }
    | { readonly kind: "given"; readonly weights: Readonly<Record<string, number>> };
  readonly sampling: "SHUFFLED" | "CLASS_BALANCED";
  readonly batchNorm: "FROZEN" | "BATCH";
  readonly batchNormMomentum: number;
  /** Features that a trainer may hold; a job with more of them is streamed. */
  readonly featureMemoryMib: number;
  /** Every so many steps or epochs, or so many times over the whole training. */
  readonly evaluateEvery: { readonly steps: number } | { readonly epochs: number } | { readonly times: number };
  readonly earlyStopping: { readonly patienceEvaluations: number; readonly minimumDelta: number } | undefined;
  readonly seed: number;
}

export type Optimizer =
  | { readonly kind: "sgd"; readonly learningRate: number; readonly momentum: number; readonly nesterov: boolean }
  | { readonly kind: "rmsprop"; readonly learningRate: number; readonly decay: number; readonly momentum: number; readonly epsilon: number }
  | {
      readonly kind: "adam" | "adamw";
      readonly learningRate: number;
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
    };

export type Schedule = { readonly warmupSteps: number } & (
  | { readonly kind: "constant" }
  | { readonly kind: "cosine"; readonly finalFraction: number }
  | { readonly kind: "step"; readonly everySteps: number; readonly factor: number }
  | { readonly kind: "exponential"; readonly decaySteps: number; readonly rate: number }
);

export interface Workers {
  readonly min: number;
  readonly max: number;
}
