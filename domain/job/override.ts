import { CodedError } from "../errors.js";
import { engineNames } from "../training/trainable-layers.js";
import { defaults } from "./defaults.js";
import { nearest } from "./problems.js";
import type { JobSpec, OptimizerSpec } from "./spec.js";

/** Dotted paths of single values in `T`. */
type PathOf<T> = T extends readonly unknown[] | string | number | boolean
  ? never
  : {
      [Key in keyof T & string]-?: NonNullable<T[Key]> extends string | number | boolean ? Key : `${Key}.${PathOf<NonNullable<T[Key]>>}`;
    }[keyof T & string];

export type SpecPath = PathOf<JobSpec>;

/** A flag of `graft train`, `graft run` and `graft plan` that sets fields of the job spec. */
export interface Override {
  readonly flag: `--${string}`;
  /** Name of the value in `--help`. */
  readonly value: string;
  readonly description: string;
  /** What the text must be. */
  readonly kind: "text" | "number" | "integer" | readonly string[];
  readonly set: (spec: JobSpec, value: never) => JobSpec;
  /** Fields that it sets, for messages and documentation. */
  readonly paths: readonly string[];
}

const optimizers = ["sgd", "rmsprop", "adam", "adamw"] as const satisfies readonly (keyof OptimizerSpec)[];
const schedules = ["constant", "cosine"] as const;

/** Every such flag. Where two set the same field the later row is applied last, so `--optimizer` comes before `--learning-rate`. */
export const overrides: readonly Override[] = [
  field("--dataset", "DIR", "text", ["dataset.source"], "folder with a folder for each class, or a manifest (.csv, .jsonl)"),
  field("--split-seed", "N", "integer", ["dataset.split.seed"], `seed of the split; default ${defaults.split.seed}`),
  field(
    "--max-rejected-percent",
    "X",
    "number",
    ["dataset.maxRejectedPercent"],
    `share of unreadable pictures that is accepted; default ${defaults.maxRejectedPercent}`,
  ),
  field("--backbone", "NAME", "text", ["backbone.name"], `pretrained network; default ${defaults.backbone}`, ["backbone.digest"]),
  field("--cut", "LAYER", "text", ["cut"], "layer whose output is the feature; default the last"),
  field(
    "--from",
    "OUT",
    "text",
    ["initialWeights.fromResult"],
    "start from the weights of a finished result; `graft train` takes its network too",
  ),
  field("--from-class", "CLASS", "text", ["head.initialFromClass"], "start an output from a class of the backbone's own classifier"),
  field("--size", "PIXELS", "integer", ["preprocessing.size"], "height and width of the network's input; default the backbone's"),
  field("--epochs", "N", "number", ["training.epochs"], `length of training; default ${defaults.epochs}`, ["training.steps"]),
  field("--steps", "N", "integer", ["training.steps"], "length of training in steps, instead of --epochs", ["training.epochs"]),
  field("--batch", "N", "integer", ["training.batchSize"], `rows of a batch; default ${defaults.batchSize}`),
  field("--grains", "N", "integer", ["training.grains"], `slices of a batch, a power of two; default ${defaults.grains}`),
  {
    flag: "--optimizer",
    value: "NAME",
    kind: optimizers,
    paths: ["training.optimizer"],
    description: `${optimizers.join(", ")}; default ${defaults.optimizer}. Settings of another one in the file are dropped`,
    set: (spec, name: (typeof optimizers)[number]) => setIn(spec, "training.optimizer", { [name]: spec.training?.optimizer?.[name] ?? {} }),
  },
  {
    flag: "--learning-rate",
    value: "X",
    kind: "number",
    paths: optimizers.map((name) => `training.optimizer.${name}.learningRate`),
    description: `learning rate of the optimiser; default ${defaults[defaults.optimizer].learningRate} for ${defaults.optimizer}`,
    set: (spec, rate: number) => setIn(spec, `training.optimizer.${optimizerOf(spec)}.learningRate`, rate),
  },
  {
    flag: "--momentum",
    value: "X",
    kind: "number",
    paths: ["training.optimizer.sgd.momentum", "training.optimizer.rmsprop.momentum"],
    description: `momentum of sgd (default ${defaults.sgd.momentum}) and rmsprop (default ${defaults.rmsprop.momentum})`,
    set: (spec, momentum: number) => {
      const name = optimizerOf(spec);
      if (name === "sgd" || name === "rmsprop") return setIn(spec, `training.optimizer.${name}.momentum`, momentum);
      throw usage("--momentum", `${name} has none; use it with --optimizer sgd or rmsprop`);
    },
  },
  {
    flag: "--schedule",
    value: "NAME",
    kind: schedules,
    paths: ["training.schedule"],
    description: `${schedules.join(", ")}; default ${defaults.schedule}. Other schedules are for a job file`,
    set: (spec, name: (typeof schedules)[number]) => {
      const warmupSteps = spec.training?.schedule?.warmupSteps;
      return setIn(spec, "training.schedule", {
        ...(warmupSteps === undefined ? {} : { warmupSteps }),
        [name]: spec.training?.schedule?.[name] ?? {},
      });
    },
  },
  field("--weight-decay", "X", "number", ["training.weightDecay"], `default ${defaults.weightDecay}`),
  {
    flag: "--batch-norm",
    value: "MODE",
    kind: ["FROZEN", "BATCH"],
    paths: ["training.batchNorm"],
    description: `what batch norm above the cut uses: stored statistics or those of the batch; default ${defaults.batchNorm}`,
    set: (spec, mode: "FROZEN" | "BATCH") => setIn(spec, "training.batchNorm", mode),
  },
  field(
    "--feature-memory-mib",
    "N",
    "integer",
    ["training.featureMemoryMib"],
    `features that a trainer may hold; a job with more of them is streamed; default ${defaults.featureMemoryMib}`,
  ),
  field("--label-smoothing", "X", "number", ["training.labelSmoothing"], `default ${defaults.labelSmoothing}`),
  field(
    "--evaluate-every-steps",
    "N",
    "integer",
    ["training.evaluateEverySteps"],
    `evaluate after so many steps; default ${defaults.evaluations} times, evenly`,
    ["training.evaluateEveryEpochs"],
  ),
  field(
    "--patience",
    "N",
    "integer",
    ["training.earlyStopping.patienceEvaluations"],
    "stop after so many evaluations without a better validation accuracy",
  ),
  field("--seed", "N", "integer", ["training.seed"], `seed of order, dropout and initial weights; default ${defaults.seed}`),
  field("--minimum-accuracy", "X", "number", ["minimumAccuracy"], "test accuracy below which nothing is exported"),
  field(
    "--extractors",
    "N",
    "integer",
    ["extractors.min", "extractors.max"],
    `workers that compute features; default ${defaults.extractors.max}`,
  ),
  field("--trainers", "N", "integer", ["trainers.min", "trainers.max"], `workers that train; default ${defaults.trainers.max}`),
  {
    flag: "--engine",
    value: "NAME",
    kind: engineNames,
    paths: ["trainers.engine"],
    description: "what trains: onnx or tensorflow (`graft engines`); default onnx",
    set: (spec, name: string) => setIn(spec, "trainers.engine", name),
  },
  {
    flag: "--extractor-engine",
    value: "NAME",
    kind: engineNames,
    paths: ["extractors.engine"],
    description: "what computes features; default onnx",
    set: (spec, name: string) => setIn(spec, "extractors.engine", name),
  },
];

/**
 * The spec with fields set by flags. `given` has values by flag in camel case (`{ learningRate: 0.01 }`), as commander hands them over: texts or numbers. Names that are
 * no rows of `overrides` are other flags and left alone. What the values mean is then checked by `resolveJob`.
 * @throws CodedError USAGE_INVALID for a value of the wrong kind or two flags that exclude each other, naming the flag.
 */
export function applyOverrides(spec: JobSpec, given: Readonly<Record<string, unknown>>): JobSpec {
  if (given["steps"] !== undefined && given["epochs"] !== undefined)
    throw usage("--steps", "and --epochs exclude each other; keep one of them");
  let result = spec;
  for (const override of overrides) {
    const value = given[optionName(override)];
    if (value !== undefined) result = override.set(result, checkedValue(override, value) as never);
  }
  return result;
}

/** `--learning-rate` as commander names it: `learningRate`. */
export function optionName({ flag }: Override): string {
  return flag.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function checkedValue({ flag, kind }: Override, given: unknown): string | number {
  if (kind === "integer" || kind === "number") {
    const text = typeof given === "string" ? given : "";
    const value = typeof given === "number" ? given : decimalNumber.test(text) ? Number(text) : Number.NaN;
    if (Number.isFinite(value) && (kind === "number" || Number.isInteger(value))) return value;
    throw usage(flag, `must be a ${kind === "integer" ? "whole number" : "number"}, found ${show(given)}`);
  }
  if (typeof given !== "string" || given === "") throw usage(flag, `must be text, found ${show(given)}`);
  if (kind === "text" || kind.includes(given)) return given;
  const candidate = nearest(given, kind);
  throw usage(
    flag,
    `must be one of ${kind.join(", ")}; found ${show(given)}${candidate === undefined ? "" : `; did you mean ${candidate}?`}`,
  );
}

const decimalNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

function usage(flag: string, message: string): CodedError {
  return new CodedError("USAGE_INVALID", `${flag}: ${message}`, { flag });
}

/** A flag that sets `paths` to its value and takes `clears` out, which would contradict it. */
function field(
  flag: `--${string}`,
  value: string,
  kind: "text" | "number" | "integer",
  paths: readonly SpecPath[],
  description: string,
  clears: readonly SpecPath[] = [],
): Override {
  const set = (spec: JobSpec, given: unknown): JobSpec => {
    const cleared = clears.reduce((result, path) => setIn(result, path, undefined), spec);
    return paths.reduce((result, path) => setIn(result, path, given), cleared);
  };
  return { flag, value, kind, paths, description, set };
}

function optimizerOf(spec: JobSpec): (typeof optimizers)[number] {
  return optimizers.find((name) => spec.training?.optimizer?.[name] !== undefined) ?? defaults.optimizer;
}

/** A copy of `spec` with the value at `path`; undefined takes the field out. */
function setIn(spec: JobSpec, path: string, value: unknown): JobSpec {
  const set = (target: Readonly<Record<string, unknown>>, [name, ...rest]: readonly string[]): Record<string, unknown> => {
    const { [name as string]: old, ...others } = target;
    if (rest.length === 0) return value === undefined ? others : { ...others, [name as string]: value };
    if (old === undefined && value === undefined) return others;
    return { ...others, [name as string]: set((old ?? {}) as Record<string, unknown>, rest) };
  };
  return set(spec as Record<string, unknown>, path.split("."));
}
