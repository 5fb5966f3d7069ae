/**
 * The job spec as it stands in a YAML file, in kubectl and, as proto's JSON mapping, in gRPC (proto/graft/v1/job.proto; a test keeps the two equal).
 * Every field is optional but `dataset.source`. `resolveJob` (resolve.ts) checks it and fills in the defaults.
 */
export interface JobSpec {
  readonly dataset?: DatasetSpec;
  readonly backbone?: { readonly name?: string; readonly digest?: string };
  readonly preprocessing?: PreprocessingSpec;
  /** Name of the layer whose output is the feature. Default: the last layer of the backbone. */
  readonly cut?: string;
  readonly head?: HeadSpec;
  readonly training?: TrainingSpec;
  readonly minimumAccuracy?: number;
  readonly extractors?: WorkersSpec;
  readonly trainers?: WorkersSpec;
  /** ANY lets features of other numerics profiles be used; the passport says so. */
  readonly numericsProfile?: "PINNED" | "ANY";
  readonly suspend?: boolean;
  readonly activeDeadlineSeconds?: number;
  readonly ttlSecondsAfterFinished?: number;
  readonly backoffLimit?: number;
}

export interface DatasetSpec {
  /** A folder, a manifest (`.csv`, `.jsonl`) or `s3://bucket/prefix/`. */
  readonly source?: string;
  readonly split?: { readonly trainPercent?: number; readonly validationPercent?: number; readonly testPercent?: number; readonly seed?: number };
  readonly maxRejectedPercent?: number;
}

export interface PreprocessingSpec {
  readonly size?: number;
  readonly resize?: "STRETCH" | "SHORT_SIDE";
  readonly resizeTo?: number;
  readonly channels?: "RGB" | "BGR";
  readonly mean?: readonly number[];
  readonly deviation?: readonly number[];
}

export interface HeadSpec {
  /** Hidden layers; the output layer is implied by the classes. */
  readonly layers?: readonly HeadLayerSpec[];
  readonly initializer?: InitializerSpec;
}

export interface HeadLayerSpec {
  readonly dense?: { readonly units?: number; readonly activation?: "NONE" | "RELU" };
  readonly dropout?: { readonly rate?: number };
}

export interface InitializerSpec {
  readonly glorotUniform?: Record<string, never>;
  readonly truncatedNormal?: { readonly stddev?: number };
  readonly zeros?: Record<string, never>;
}

export interface TrainingSpec {
  /** One of epochs and steps. */
  readonly epochs?: number;
  readonly steps?: number;
  readonly batchSize?: number;
  readonly grains?: number;
  readonly optimizer?: OptimizerSpec;
  readonly schedule?: ScheduleSpec;
  readonly learningRateMultipliers?: readonly { readonly layers?: string; readonly factor?: number }[];
  readonly weightDecay?: number;
  /** Layer patterns (`head/*`) or tensor patterns (`* /bias`) whose parameters do not decay. */
  readonly weightDecayExempt?: readonly string[];
  readonly loss?: "SOFTMAX_CROSS_ENTROPY" | "SIGMOID_CROSS_ENTROPY";
  readonly labelSmoothing?: number;
  readonly classWeights?: { readonly balanced?: Record<string, never>; readonly given?: { readonly weights?: Readonly<Record<string, number>> } };
  readonly sampling?: "SHUFFLED" | "CLASS_BALANCED";
  readonly batchNorm?: "FROZEN" | "BATCH";
  readonly evaluateEverySteps?: number;
  readonly evaluateEveryEpochs?: number;
  readonly earlyStopping?: { readonly patienceEvaluations?: number; readonly minimumDelta?: number };
  readonly seed?: number;
}

/** Exactly one of them. */
export interface OptimizerSpec {
  readonly sgd?: { readonly learningRate?: number; readonly momentum?: number; readonly nesterov?: boolean };
  readonly rmsprop?: { readonly learningRate?: number; readonly decay?: number; readonly momentum?: number; readonly epsilon?: number };
  readonly adam?: { readonly learningRate?: number; readonly beta1?: number; readonly beta2?: number; readonly epsilon?: number };
  readonly adamw?: { readonly learningRate?: number; readonly beta1?: number; readonly beta2?: number; readonly epsilon?: number };
}

/** Exactly one of them; `warmupSteps` rise linearly from 0 first. */
export interface ScheduleSpec {
  readonly warmupSteps?: number;
  readonly constant?: Record<string, never>;
  /** Half a cosine from the learning rate to `finalFraction` of it at the last step. */
  readonly cosine?: { readonly finalFraction?: number };
  /** Times `factor` after every `everySteps` steps. */
  readonly step?: { readonly everySteps?: number; readonly factor?: number };
  readonly exponential?: { readonly decaySteps?: number; readonly rate?: number };
}

export interface WorkersSpec {
  readonly min?: number;
  readonly max?: number;
}
