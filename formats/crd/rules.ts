import { cacheDomainPattern } from "../../domain/features/cache-domain.js";
import { defaults } from "../../domain/job/defaults.js";
import { defaultBackoffLimit, ownEnvironment, workerServiceAccount } from "../../domain/job/operation.js";
import { limits } from "../../domain/limits.js";
import { engineNames } from "../../domain/training/trainable-layers.js";

/** What a field of the CRD's schema must hold beyond its type: keywords of OpenAPI v3. */
export interface FieldRule {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: true;
  readonly exclusiveMaximum?: true;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly enum?: readonly (string | number)[];
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  /** What each value of a list or map must hold. */
  readonly each?: FieldRule;
  /** What the API server writes into the object where the field is left out: the same as `resolveJob` takes for it, so that everybody reads what a job does. */
  readonly default?: string | number | boolean;
}

/** What fields of a message must hold together: a rule in CEL (`self` is the message), in the words of `resolveJob`. */
export interface MessageRule {
  readonly rule: string;
  readonly message: string;
  /** The field to be named, such as `.resizeTo`; default: the message's own. */
  readonly fieldPath?: string;
}

export interface MessageRules {
  readonly required?: readonly string[];
  readonly fields?: Readonly<Record<string, FieldRule>>;
  readonly together?: readonly MessageRule[];
  /** A message without fields, or with optional ones only, of whose oneof exactly one is needed; of all others at most one is allowed. */
  readonly oneofNeeded?: true;
}

const fraction: FieldRule = { minimum: 0, maximum: 1 };
const percent: FieldRule = { minimum: 0, maximum: 100 };
const shareBelowOne: FieldRule = { minimum: 0, maximum: 1, exclusiveMaximum: true };
const positive: FieldRule = { minimum: 0, exclusiveMinimum: true };
const nonNegative: FieldRule = { minimum: 0 };
const atLeastOne: FieldRule = { minimum: 1 };
const seed: FieldRule = { minimum: 0 };
const crop = defaults.randomResizedCrop;
const name: FieldRule = { minLength: 1, maxLength: 253 };
const pattern: FieldRule = { minLength: 1, maxLength: 253 };
const workers: FieldRule = { minimum: 0, maximum: 4_096 };
const viewsDiffer = [
  ...["randomResizedCrop", "randomCrop", "color", "rotation", "shift", "zoom"].map((kind) => `has(self.${kind})`),
  ...["horizontalFlip", "verticalFlip"].map((flip) => `(has(self.${flip}) && self.${flip})`),
].join(" || ");
const engine: FieldRule = { enum: engineNames };

/**
 * The validation of `resolveJob` (domain/job) that a schema can say, by message of proto/graft/v1/job.proto. A field that is left out has the default of the proto's comment;
 * the rules say the same of it. What is left to the coordinator needs the pictures or the network.
 * Defaults stand where they are constants. What follows from other fields (grains, the length in epochs, min and max of workers) has none, and no part of a spec comes into being by
 * a default: `training: {}` is filled in, no `training` stays so.
 */
export const messageRules: Readonly<Record<string, MessageRules>> = {
  JobSpec: {
    required: ["dataset"],
    fields: {
      cut: name,
      minimumAccuracy: { ...fraction, default: defaults.minimumAccuracy },
      numericsProfile: { default: defaults.numericsProfile },
      cacheDomain: { pattern: cacheDomainPattern, maxLength: limits.cacheDomainCharacters },
      activeDeadlineSeconds: atLeastOne,
      ttlSecondsAfterFinished: nonNegative,
      suspend: { default: false },
      backoffLimit: { ...nonNegative, default: defaultBackoffLimit },
      deletionPolicy: { default: defaults.deletionPolicy },
    },
    together: [
      {
        rule: "!has(self.trainers) || !has(self.trainers.min) || self.trainers.min >= 1",
        message: "must be at least 1",
        fieldPath: ".trainers.min",
      },
      {
        rule: "!has(self.trainers) || !has(self.trainers.min) || !has(self.training) || !has(self.training.grains) || self.trainers.min <= self.training.grains",
        message: "must be at most training.grains: a grain cannot be divided",
        fieldPath: ".trainers.min",
      },
      {
        rule: "!has(self.initialWeights) || !has(self.initialWeights.fromResult) || !has(self.head) || !has(self.head.initialFromClass) || self.head.initialFromClass == ''",
        message: "excludes initialWeights.fromResult, which gives the output layer too; keep one of them",
        fieldPath: ".head.initialFromClass",
      },
    ],
  },
  DatasetSpec: {
    required: ["source"],
    fields: {
      source: { minLength: 1, maxLength: 1_024 },
      maxRejectedPercent: { ...percent, default: defaults.maxRejectedPercent },
      credentialsSecret: name,
    },
  },
  SplitSpec: {
    fields: {
      trainPercent: { ...percent, exclusiveMinimum: true, default: defaults.split.trainPercent },
      validationPercent: { ...percent, default: defaults.split.validationPercent },
      testPercent: { ...percent, default: defaults.split.testPercent },
      seed: { ...seed, default: defaults.split.seed },
    },
    together: [
      {
        // 33.3 + 33.3 + 33.4 may miss 100 by a rounding error.
        rule: `[(has(self.trainPercent) ? self.trainPercent : ${double(defaults.split.trainPercent)}) + (has(self.validationPercent) ? self.validationPercent : ${double(defaults.split.validationPercent)}) + (has(self.testPercent) ? self.testPercent : ${double(defaults.split.testPercent)})].all(sum, sum > 99.999999 && sum < 100.000001)`,
        message: `trainPercent (default ${defaults.split.trainPercent}), validationPercent (${defaults.split.validationPercent}) and testPercent (${defaults.split.testPercent}) must add up to 100`,
      },
    ],
  },
  BackboneSpec: {
    fields: { name: { ...name, default: defaults.backbone }, digest: { pattern: "^[0-9a-f]{64}$", maxLength: 64 }, lastLayer: name },
  },
  PreprocessingSpec: {
    fields: {
      size: { minimum: 1, maximum: 4_096 },
      resizeTo: { minimum: 1, maximum: 8_192 },
      mean: { minItems: 3, maxItems: 3 },
      deviation: { minItems: 3, maxItems: 3, each: positive },
    },
    together: [
      { rule: "!has(self.resizeTo) || has(self.resize)", message: "needs resize beside it: STRETCH or SHORT_SIDE", fieldPath: ".resizeTo" },
      { rule: "!has(self.crop) || has(self.resize)", message: "needs resize beside it: STRETCH or SHORT_SIDE", fieldPath: ".crop" },
      {
        rule: "!has(self.resize) || self.resize != 'SHORT_SIDE' || has(self.resizeTo)",
        message: "is required with resize: SHORT_SIDE",
        fieldPath: ".resizeTo",
      },
      {
        rule: "!has(self.resizeTo) || !has(self.size) || self.resizeTo >= self.size",
        message: "must be at least size",
        fieldPath: ".resizeTo",
      },
    ],
  },
  ViewsSpec: {
    fields: { count: { minimum: 1, maximum: 1_000 } },
    together: [
      {
        rule: `!has(self.count) || self.count <= 1 || ${viewsDiffer}`,
        message: "more than one view needs something that makes them differ: a crop, a flip, color, rotation, shift or zoom",
      },
      {
        rule: `(has(self.count) && self.count > 1) || !(${viewsDiffer})`,
        message: "must be at least 2 where views differ: view 0 is the plain picture",
        fieldPath: ".count",
      },
      {
        rule: "!has(self.randomResizedCrop) || !has(self.randomCrop)",
        message: "randomResizedCrop and randomCrop exclude each other; keep one of them",
      },
    ],
  },
  RandomResizedCropSpec: {
    fields: {
      minScale: { minimum: 0, exclusiveMinimum: true, maximum: 1, default: crop.minScale },
      maxScale: { minimum: 0, exclusiveMinimum: true, maximum: 1, default: crop.maxScale },
      minAspect: { minimum: 0.01, maximum: 100, default: crop.minAspect },
      maxAspect: { minimum: 0.01, maximum: 100, default: crop.maxAspect },
    },
    together: [
      {
        rule: `(has(self.minScale) ? self.minScale : ${double(crop.minScale)}) <= (has(self.maxScale) ? self.maxScale : ${double(crop.maxScale)})`,
        message: `must be at least minScale (default ${crop.minScale})`,
        fieldPath: ".maxScale",
      },
      {
        rule: `(has(self.minAspect) ? self.minAspect : ${double(crop.minAspect)}) <= (has(self.maxAspect) ? self.maxAspect : ${double(crop.maxAspect)})`,
        message: `must be at least minAspect (default ${crop.minAspect})`,
        fieldPath: ".maxAspect",
      },
    ],
  },
  RandomCropSpec: {
    fields: { marginPercent: percent, scalePercent: percent },
    together: [changesSomething("marginPercent", "scalePercent")],
  },
  RotationSpec: { required: ["maxDegrees"], fields: { maxDegrees: { minimum: 0, exclusiveMinimum: true, maximum: 180 } } },
  ShiftSpec: { fields: { maxWidth: fraction, maxHeight: fraction }, together: [changesSomething("maxWidth", "maxHeight")] },
  ZoomSpec: {
    fields: { min: { minimum: 0.25, maximum: 4 }, max: { minimum: 0.25, maximum: 4 } },
    together: [
      {
        rule: "(has(self.min) ? self.min : 1.0) <= (has(self.max) ? self.max : 1.0)",
        message: "must be at least min (default 1)",
        fieldPath: ".max",
      },
      {
        rule: "(has(self.min) && self.min != 1.0) || (has(self.max) && self.max != 1.0)",
        message: "changes nothing; give min, max or both, such as min: 0.8, max: 1.2",
      },
    ],
  },
  ColorSpec: {
    fields: { brightness: fraction, contrast: fraction, saturation: fraction },
    together: [changesSomething("brightness", "contrast", "saturation")],
  },
  HeadSpec: { fields: { layers: { maxItems: 32 }, initialFromClass: { maxLength: 253 } } },
  HeadLayerSpec: { oneofNeeded: true },
  DenseSpec: { required: ["units"], fields: { units: { minimum: 1, maximum: 65_536 }, activation: { default: defaults.activation } } },
  DropoutSpec: { required: ["rate"], fields: { rate: shareBelowOne } },
  TruncatedNormalSpec: { fields: { stddev: { ...positive, default: defaults.truncatedNormal.stddev } } },
  InitialWeightsSpec: {
    fields: { fromResult: { minLength: 1, maxLength: 1_024 } },
    together: [
      { rule: "!has(self.fromResult) || !has(self.random)", message: "fromResult and random exclude each other; keep one of them" },
      { rule: "!has(self.prefix) || has(self.fromResult)", message: "needs fromResult beside it", fieldPath: ".prefix" },
    ],
  },
  TrainingSpec: {
    fields: {
      epochs: positive,
      steps: atLeastOne,
      batchSize: { minimum: 2, maximum: 65_536, default: defaults.batchSize },
      grains: { enum: Array.from({ length: 16 }, (_, exponent) => 2 ** exponent) },
      learningRateMultipliers: { maxItems: 64 },
      weightDecay: { ...nonNegative, default: defaults.weightDecay },
      weightDecayExempt: { maxItems: 64 },
      loss: { default: defaults.loss },
      labelSmoothing: { ...shareBelowOne, default: defaults.labelSmoothing },
      sampling: { default: defaults.sampling },
      batchNorm: { default: defaults.batchNorm },
      evaluateEverySteps: atLeastOne,
      evaluateEveryEpochs: positive,
      seed: { ...seed, default: defaults.seed },
      batchNormMomentum: shareBelowOne,
      featureMemoryMib: { minimum: 1, maximum: limits.residentFeatureMib, default: defaults.featureMemoryMib },
    },
    together: [
      {
        rule: `!has(self.grains) || (has(self.batchSize) ? self.batchSize : ${defaults.batchSize}) >= 2 * self.grains`,
        message: `must be at most half of batchSize (default ${defaults.batchSize}): every grain needs two rows`,
        fieldPath: ".grains",
      },
      {
        rule: "!has(self.steps) || !has(self.schedule) || !has(self.schedule.warmupSteps) || self.schedule.warmupSteps == 0 || self.schedule.warmupSteps < self.steps",
        message: "must be less than training.steps",
        fieldPath: ".schedule.warmupSteps",
      },
    ],
  },
  SgdSpec: {
    fields: withDefaults({ learningRate: positive, momentum: shareBelowOne, nesterov: {} }, defaults.sgd),
    together: [
      {
        rule: "!has(self.nesterov) || !self.nesterov || !has(self.momentum) || self.momentum > 0.0",
        message: "needs a momentum > 0 beside it",
        fieldPath: ".nesterov",
      },
    ],
  },
  RmspropSpec: {
    fields: withDefaults({ learningRate: positive, decay: shareBelowOne, momentum: shareBelowOne, epsilon: positive }, defaults.rmsprop),
  },
  AdamSpec: {
    fields: withDefaults({ learningRate: positive, beta1: shareBelowOne, beta2: shareBelowOne, epsilon: positive }, defaults.adam),
  },
  AdamwSpec: {
    fields: withDefaults({ learningRate: positive, beta1: shareBelowOne, beta2: shareBelowOne, epsilon: positive }, defaults.adamw),
  },
  ScheduleSpec: { fields: { warmupSteps: { ...nonNegative, default: defaults.warmupSteps } } },
  CosineScheduleSpec: { fields: { finalFraction: { ...fraction, default: defaults.cosine.finalFraction } } },
  StepScheduleSpec: {
    required: ["everySteps"],
    fields: { everySteps: atLeastOne, factor: { ...positive, default: defaults.step.factor } },
  },
  ExponentialScheduleSpec: {
    required: ["decaySteps"],
    fields: { decaySteps: atLeastOne, rate: { ...positive, default: defaults.exponential.rate } },
  },
  LearningRateMultiplierSpec: { required: ["layers", "factor"], fields: { layers: pattern, factor: nonNegative } },
  ClassWeightsSpec: { oneofNeeded: true },
  GivenClassWeightsSpec: {
    required: ["weights"],
    fields: { weights: { maxProperties: 1_024, each: positive } },
    together: [{ rule: "self.weights.size() > 0", message: "needs at least one class with its weight", fieldPath: ".weights" }],
  },
  EarlyStoppingSpec: {
    required: ["patienceEvaluations"],
    fields: { patienceEvaluations: atLeastOne, minimumDelta: { ...nonNegative, default: defaults.minimumDelta } },
  },
  WorkersSpec: {
    fields: { min: workers, max: { minimum: 1, maximum: 4_096 }, engine },
    together: [{ rule: "!has(self.min) || !has(self.max) || self.max >= self.min", message: "must be at least min", fieldPath: ".max" }],
  },
  PodSpec: {
    fields: { serviceAccountName: { pattern: workerServiceAccount.source } },
    together: [
      {
        rule: `!has(self.env) || self.env.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$') && !name.matches('${ownEnvironment.source}'))`,
        message: 'must have names of letters, digits and "_" that do not begin with GRAFT_, NODE_ or LD_',
        fieldPath: ".env",
      },
    ],
  },
  TolerationSpec: {
    fields: { operator: { enum: ["Equal", "Exists"] }, effect: { enum: ["NoSchedule", "PreferNoSchedule", "NoExecute"] } },
  },
};

/** What may change while a job stands: how many workers, where they run, how long it may take, whether it stands still. All else shapes the result. */
export const mutableSpecFields: ReadonlySet<string> = new Set([
  "extractors",
  "trainers",
  "suspend",
  "activeDeadlineSeconds",
  "ttlSecondsAfterFinished",
  "backoffLimit",
  "deletionPolicy",
]);

/** The rules of fields, each with the default of its name. */
function withDefaults<Name extends string>(
  fields: Readonly<Record<Name, FieldRule>>,
  values: Readonly<Record<Name, string | number | boolean>>,
): Readonly<Record<string, FieldRule>> {
  return Object.fromEntries(Object.entries<FieldRule>(fields).map(([name, rule]) => [name, { ...rule, default: values[name as Name] }]));
}

/** Numbers that are 0 by default, of which one has to be more. */
function changesSomething(...fields: readonly string[]): MessageRule {
  return {
    rule: fields.map((field) => `(has(self.${field}) && self.${field} > 0.0)`).join(" || "),
    message: `changes nothing; give a ${fields.join(", ")} above 0`,
  };
}

/** A number as CEL writes a double, which it never compares with an integer. */
function double(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : `${value}`;
}
