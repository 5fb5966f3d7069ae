import { planTasks, shardRowLimit, valueBytes } from "../features/plan-tasks.js";
import { CodedError, type ErrorCode } from "../errors.js";
import { limits } from "../limits.js";
import { elementCount, type Shape } from "../network/network.js";
import { multiplyAddsPerImage } from "../network/shapes.js";
import { classWeightsOf } from "../training/class-weights.js";
import { lossProblem } from "../training/loss.js";
import { slotNames } from "../training/optimizer-programs.js";
import { trainingShape } from "../training/training-plan.js";
import type { SplitCounts } from "./expected-counts.js";
import type { CutBackbone } from "./cut-backbone.js";
import { byteSize, count, decimals, printable } from "./figures.js";
import type { ResolvedJob } from "./job.js";
import { assumedExchange, assumedExtraction, assumedStep, chooseTrainers, extractorBytes, trainerBytes, type Speed } from "./plan-costs.js";

/** A number and whether it is known or estimated (shown as ≈). */
export interface Figure {
  readonly value: number;
  readonly exact: boolean;
}

export interface PlanInputs {
  readonly job: ResolvedJob;
  /** Pictures of the listing. */
  readonly pictures: number;
  readonly classes: readonly string[];
  /** Per split, one number per class: `expectedCounts`, or counted. */
  readonly counts: SplitCounts;
  /** Every picture's identity is known, so that counts and cached are counted, not estimated. */
  readonly exact: boolean;
  /** Pictures of the listing whose features exist. */
  readonly cached: number;
  /** Pictures to extract where they were counted: copies and rejected ones are left out. Else all that are not cached. */
  readonly toExtract?: number;
  readonly backbone: { readonly name: string; readonly digest: string; readonly cut: string };
  readonly frozen: { readonly parameters: number; readonly multiplyAdds: number; readonly size: number; readonly batch: number };
  readonly network: CutBackbone;
  /** What trains. */
  readonly engine: string;
  /** Missing ones are assumed. images: of one machine. step: of one trainer. exchange: bytes a second. */
  readonly speeds?: { readonly imagesPerSecond?: Speed; readonly millisecondsPerStep?: Speed; readonly exchangeBytesPerSecond?: Speed };
  /** What one worker may use; missing: not checked. */
  readonly memoryBytes?: number;
  /** All workers run on one machine. */
  readonly local: boolean;
}

/** What a job would do and cost. Plain JSON. */
export interface Plan {
  readonly source: string;
  readonly backbone: PlanInputs["backbone"];
  readonly pictures: number;
  readonly classes: readonly string[];
  readonly counts: SplitCounts;
  readonly countsExact: boolean;
  /** `bytes`: of one feature. `views`: of every training picture. */
  readonly features: {
    readonly shape: Shape;
    readonly dtype: "float32" | "uint8";
    readonly bytes: number;
    readonly views: number;
    readonly shardRows: number;
  };
  readonly extraction: {
    readonly cached: Figure;
    readonly toExtract: Figure;
    readonly tasks: number;
    readonly taskPictures: number;
    readonly bytesToWrite: number;
    readonly extractors: number;
    readonly multiplyAddsPerImage: number;
    readonly imagesPerSecond: Speed;
    readonly seconds: number;
    readonly memoryBytes: number;
  };
  readonly training: {
    readonly parameters: number;
    readonly multiplyAddsPerRow: number;
    readonly steps: Figure;
    readonly batchSize: number;
    readonly grains: number;
    readonly evaluateEverySteps: number;
    readonly trainers: number;
    readonly trainersReason: string;
    readonly exchangeBytesPerStep: number;
    readonly millisecondsPerStep: Speed;
    readonly seconds: number;
    readonly memoryBytes: number;
  };
  /** Why the job cannot run; empty if it can. */
  readonly obstacles: readonly Obstacle[];
  /** What a user should know. */
  readonly notes: readonly string[];
}

export interface Obstacle {
  readonly code: ErrorCode;
  readonly message: string;
}

/** A thumbnail for the report, stored beside the features. */
const THUMBNAIL_BYTES = 2500;
/** Image id, checksum and columns' overhead of a row. */
const ROW_OVERHEAD_BYTES = 48;

/**
 * Tasks, costs and workers of a job. Pure: `graft plan` prints it, tests and bug reports can hold its inputs.
 * @throws CodedError DATASET_INVALID for an empty dataset, NETWORK_INVALID where head and features do not fit, SPEC_INVALID for class weights of unknown classes. Everything else that keeps the job from running
 * is an obstacle of the plan.
 */
export function planJob(inputs: PlanInputs): Plan {
  const { job, counts, classes, exact, frozen, network, local } = inputs;
  if (inputs.pictures === 0 || classes.length === 0) {
    throw new CodedError(
      "DATASET_INVALID",
      `dataset ${printable(job.dataset.source)}: no pictures found; expected one folder of pictures for each class`,
    );
  }
  const { featureShape, pixels } = network;
  const bytesPerValue = valueBytes(pixels ? "uint8" : "float32");
  const bytes = elementCount(featureShape) * bytesPerValue;
  const tasks = planTasks(inputs.pictures);
  const toExtract = inputs.toExtract ?? Math.max(0, inputs.pictures - inputs.cached);
  const extractors = Math.max(1, Math.min(job.extractors.max, Math.max(job.extractors.min, tasks.tasks)));
  const imagesPerSecond = inputs.speeds?.imagesPerSecond ?? assumedExtraction(frozen.multiplyAdds);

  const training = trainingShape(job, network, { classes, counts });
  // Names can be checked already; balanced weights need counted pictures.
  if (job.training.classWeights.kind === "given") classWeightsOf(job.training.classWeights, classes, counts.train);
  const { grains, batchSize, steps, evaluateEverySteps } = training;
  const parameters = training.layout.length;
  const multiplyAddsPerRow = multiplyAddsPerImage(training.trainable);
  const oneTrainer = inputs.speeds?.millisecondsPerStep ?? assumedStep(multiplyAddsPerRow, batchSize);
  const exchange = inputs.speeds?.exchangeBytesPerSecond ?? assumedExchange;
  const choice = chooseTrainers({
    wanted: job.trainers,
    grains,
    parameters,
    millisecondsPerStep: oneTrainer.value,
    exchangeBytesPerSecond: exchange.value,
    local,
  });
  const rows = featureRows(counts, job.views.count);
  // Views of an average picture: evaluation pictures have the plain one only.
  const viewsEach = rows / Math.max(1, featureRows(counts, 1));
  // A forward pass is a third of a step's work; the test pictures are evaluated once, at the end.
  const evaluated = total(counts.validation) * Math.ceil(steps / evaluateEverySteps) + total(counts.test);
  const evaluationSeconds = ((evaluated / batchSize) * oneTrainer.value) / 3000;

  const plan: Omit<Plan, "obstacles" | "notes"> = {
    source: job.dataset.source,
    backbone: inputs.backbone,
    pictures: inputs.pictures,
    classes,
    counts,
    countsExact: exact,
    features: {
      shape: featureShape,
      dtype: pixels ? "uint8" : "float32",
      bytes,
      views: job.views.count,
      shardRows: shardRowLimit(featureShape, bytesPerValue),
    },
    extraction: {
      cached: { value: inputs.cached, exact },
      toExtract: { value: toExtract, exact },
      tasks: tasks.tasks,
      taskPictures: tasks.taskPictures,
      bytesToWrite: toExtract * (viewsEach * (bytes + ROW_OVERHEAD_BYTES) + THUMBNAIL_BYTES),
      extractors,
      multiplyAddsPerImage: frozen.multiplyAdds,
      imagesPerSecond,
      seconds: (viewsEach * toExtract) / imagesPerSecond.value / (local ? 1 : extractors),
      memoryBytes: extractorBytes(frozen.parameters, frozen.size * frozen.size, frozen.batch),
    },
    training: {
      parameters,
      multiplyAddsPerRow,
      steps: { value: steps, exact: exact || "steps" in job.training.length },
      batchSize,
      grains,
      evaluateEverySteps,
      trainers: choice.trainers,
      trainersReason: choice.reason,
      exchangeBytesPerStep: choice.exchangeBytesPerStep,
      millisecondsPerStep: { value: choice.millisecondsPerStep, origin: oneTrainer.origin },
      seconds: (steps * choice.millisecondsPerStep) / 1000 + evaluationSeconds,
      memoryBytes: trainerBytes(rows * bytes, parameters, slotNames(job.training.optimizer).length, grains),
    },
  };
  return { ...plan, obstacles: obstaclesOf(plan, inputs), notes: notesOf(plan, job) };
}

/** @throws CodedError with the code of the first obstacle and the text of all. */
export function assertFeasible(plan: Plan): void {
  const [first] = plan.obstacles;
  if (first !== undefined)
    throw new CodedError(first.code, plan.obstacles.map(({ message }) => message).join("\n"), { obstacles: plan.obstacles });
}

function obstaclesOf(plan: Omit<Plan, "obstacles" | "notes">, { job, memoryBytes }: PlanInputs): Obstacle[] {
  const obstacles: Obstacle[] = [];
  const add = (code: ErrorCode, message: string): void => void obstacles.push({ code, message });
  const { classes, counts } = plan;
  if (classes.length < 2) {
    add("DATASET_INVALID", `dataset ${printable(plan.source)}: a classifier needs two classes, found only ${name(classes[0])}`);
  }
  const untrained = classes.filter((_, index) => counts.train[index] === 0);
  if (plan.countsExact && untrained.length > 0) {
    add("DATASET_INVALID", `no training pictures in ${list(untrained)}; add some, remove the class or change dataset.split`);
  }
  const lossAgainst = lossProblem(job.training.loss, classes.length);
  if (lossAgainst !== undefined) add("SPEC_INVALID", lossAgainst);
  const featureBytesTotal = plan.features.bytes * featureRows(counts, job.views.count);
  const smaller = "choose a later cut, a smaller preprocessing.size or fewer pictures";
  if (featureBytesTotal > limits.residentFeatureBytes) {
    add(
      "JOB_TOO_LARGE",
      `the features need ${byteSize(featureBytesTotal)}, at most ${byteSize(limits.residentFeatureBytes)} fit in one trainer; ${smaller}`,
    );
  }
  for (const [role, needed] of [
    ["a trainer", plan.training.memoryBytes],
    ["an extractor", plan.extraction.memoryBytes],
  ] as const) {
    if (memoryBytes !== undefined && needed > memoryBytes) {
      add(
        "JOB_TOO_LARGE",
        `${role} needs about ${byteSize(needed)} of memory, there are ${byteSize(memoryBytes)}; ${smaller}, or use a machine with more memory`,
      );
    }
  }
  return obstacles;
}

function notesOf(plan: Omit<Plan, "obstacles" | "notes">, job: ResolvedJob): string[] {
  const { classes, counts, training } = plan;
  const notes: string[] = [];
  for (const split of ["validation", "test"] as const) {
    const empty = classes.filter((_, index) => counts[split][index] === 0);
    if (total(counts[split]) === 0)
      notes.push(
        `no ${split} pictures: ${split === "test" ? "the result has no test accuracy" : "nothing to compare with during training"}`,
      );
    else if (empty.length > 0) notes.push(`${plan.countsExact ? "no" : "probably no"} ${split} pictures in ${list(empty)}`);
  }
  if (training.grains < job.training.grains) {
    const why =
      training.parameters > limits.parametersForGrains
        ? `more than ${count(limits.parametersForGrains)} parameters are trained`
        : `a batch of ${training.batchSize} has no two rows for each of ${job.training.grains}`;
    notes.push(`${count(training.grains, "grain")} instead of ${job.training.grains}: ${why}`);
  }
  const epochs = total(counts.train) === 0 ? 0 : (training.steps.value * training.batchSize) / total(counts.train);
  if ("steps" in job.training.length && epochs > 0)
    notes.push(`${count(training.steps.value)} steps are ${plan.countsExact ? "" : "≈ "}${decimals(epochs, 1)} epochs`);
  return notes;
}

/** Features of all views of the training pictures, and of the plain view of the others. */
function featureRows(counts: SplitCounts, views: number): number {
  return views * total(counts.train) + total(counts.validation) + total(counts.test);
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 5).map(name).join(", ");
  return `${names.length === 1 ? "class" : "classes"} ${shown}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`;
}

function name(className: string | undefined): string {
  return `"${printable(className ?? "")}"`;
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
