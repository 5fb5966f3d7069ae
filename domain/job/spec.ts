/**
 * The job spec as it stands in a YAML file, in kubectl and, as proto's JSON mapping, in gRPC (proto/graft/v1/job.proto; formats/job-file/job-spec-json.test.ts keeps the two equal, field by field).
 * Every field is optional but `dataset.source`. `resolveJob` (resolve.ts) checks it and fills in the defaults; it refuses fields that this version does not implement.
 */
export interface JobSpec {
  readonly dataset?: DatasetSpec;
  /** `lastLayer`: the last layer that is used, where the network goes on to a classifier of its own. */
  readonly backbone?: { readonly name?: string; readonly digest?: string; readonly lastLayer?: string };
  readonly preprocessing?: PreprocessingSpec;
  /** Name of the layer whose output is the feature, or `input`. Default: the last layer of the backbone, below a classifier of its own. */
  readonly cut?: string;
  readonly views?: ViewsSpec;
  readonly head?: HeadSpec;
  readonly initialWeights?: InitialWeightsSpec;
  readonly training?: TrainingSpec;
  readonly minimumAccuracy?: number;
  readonly extractors?: WorkersSpec;
  readonly trainers?: WorkersSpec;
  /** ANY lets features of other numerics profiles be used; the passport says so. */
  readonly numericsProfile?: "PINNED" | "ANY";
  /** Features are shared among jobs of one domain only. Default: none; on Kubernetes the namespace. */
  readonly cacheDomain?: string;
  readonly suspend?: boolean;
  readonly activeDeadlineSeconds?: number;
  readonly ttlSecondsAfterFinished?: number;
  readonly backoffLimit?: number;
  readonly deletionPolicy?: "RETAIN" | "DELETE";
}

export interface DatasetSpec {
  /** A folder, a manifest (`.csv`, `.jsonl`) or `s3://bucket/prefix/`. */
  readonly source?: string;
  readonly split?: {
    readonly trainPercent?: number;
    readonly validationPercent?: number;
    readonly testPercent?: number;
    readonly seed?: number;
  };
  readonly maxRejectedPercent?: number;
  /** Name of a Kubernetes Secret with the keys to the source. */
  readonly credentialsSecret?: string;
}

export interface PreprocessingSpec {
  readonly size?: number;
  readonly resize?: "STRETCH" | "SHORT_SIDE";
  readonly resizeTo?: number;
  readonly crop?: "CENTER";
  readonly channels?: "RGB" | "BGR";
  readonly mean?: readonly number[];
  readonly deviation?: readonly number[];
}

/** Numbered variants of every training picture; view 0 is the plain one. */
export interface ViewsSpec {
  readonly count?: number;
  readonly randomResizedCrop?: {
    readonly minScale?: number;
    readonly maxScale?: number;
    readonly minAspect?: number;
    readonly maxAspect?: number;
  };
  readonly randomCrop?: { readonly marginPercent?: number; readonly scalePercent?: number };
  readonly horizontalFlip?: boolean;
  readonly verticalFlip?: boolean;
  readonly rotation?: { readonly maxDegrees?: number };
  readonly shift?: { readonly maxWidth?: number; readonly maxHeight?: number };
  readonly zoom?: { readonly min?: number; readonly max?: number };
  readonly color?: { readonly brightness?: number; readonly contrast?: number; readonly saturation?: number };
}

/** What the training starts from: a finished result, or random weights in the tail too. */
export interface InitialWeightsSpec {
  readonly fromResult?: string;
  readonly prefix?: { readonly strip?: string; readonly add?: string };
  readonly random?: Record<string, never>;
}

export interface HeadSpec {
  /** Hidden layers; the output layer is implied by the classes. */
  readonly layers?: readonly HeadLayerSpec[];
  readonly initializer?: InitializerSpec;
  /** Name of a class of the backbone's own classifier and of the dataset, whose output starts from the old weights. */
  readonly initialFromClass?: string;
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
  readonly classWeights?: {
    readonly balanced?: Record<string, never>;
    readonly given?: { readonly weights?: Readonly<Record<string, number>> };
  };
  readonly sampling?: "SHUFFLED" | "CLASS_BALANCED";
  readonly batchNorm?: "FROZEN" | "BATCH";
  readonly batchNormMomentum?: number;
  /** Features that a trainer may hold, in MiB; a job with more of them is streamed (domain/training/lanes.ts). */
  readonly featureMemoryMib?: number;
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
  readonly pod?: PodSpec;
  readonly engine?: string;
}

/** What may be said about pods on Kubernetes: this and nothing else. */
export interface PodSpec {
  readonly resources?: { readonly requests?: Readonly<Record<string, string>>; readonly limits?: Readonly<Record<string, string>> };
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly {
    readonly key?: string;
    readonly operator?: string;
    readonly value?: string;
    readonly effect?: string;
    readonly tolerationSeconds?: number;
  }[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly priorityClassName?: string;
  readonly runtimeClassName?: string;
  /** As in Kubernetes. */
  readonly affinity?: JsonObject;
  readonly imagePullSecrets?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly serviceAccountName?: string;
}

/** What graft hands on as it is. */
export interface JsonObject {
  [name: string]: JsonValue;
}
type JsonValue = number | string | boolean | null | JsonObject | JsonValue[];
