import { planTasks, shardRowLimit, valueBytes } from "../features/plan-tasks.js";
import { CodedError } from "../errors.js";
import { elementCount, type Shape } from "../network/network.js";
import { multiplyAddsPerImage, parameterCount } from "../network/shapes.js";
import { classWeightsOf } from "../training/class-weights.js";
import { windowRowsMax } from "../training/lanes.js";
import { trainingShape, type TrainingShape } from "../training/training-plan.js";
import { chooseTrainers } from "./choose-trainers.js";
import { featureRows, type SplitCounts } from "./expected-counts.js";
import type { CutBackbone } from "./cut-backbone.js";
import { printable } from "./figures.js";
import type { Initializer, InitialWeights, ResolvedJob } from "./job.js";
import { assumedExchange, assumedExtraction, assumedStep, type Speed } from "./plan-costs.js";
import { extractorMemory, type MemoryQuestion, trainerMemory, type TrainerMemory } from "./plan-memory.js";
import { notesOf, type Obstacle, obstaclesOf } from "./plan-remarks.js";

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
  /** Pictures of the listing of which every view that the job needs is kept. */
  readonly cached: number;
  /** Counted where every picture is known, copies once and rejected ones left out; else estimated from `cached`. */
  readonly toExtract?: ToExtract;
  /** `parameters`: values of all weights that are stored of it. */
  readonly backbone: { readonly name: string; readonly digest: string; readonly parameters: number };
  readonly network: CutBackbone;
  /** What extracts and what trains. */
  readonly engines: { readonly extraction: string; readonly training: string };
  /** Missing ones are assumed. images: views a second of one machine. step: of one trainer. exchange: bytes a second. */
  readonly speeds?: Speeds;
  /** What one worker may use; missing: not checked. */
  readonly memoryBytes?: number;
  /** All workers run on one machine. */
  readonly local: boolean;
  /** What else keeps the job from running, such as an engine that is missing. */
  readonly obstacles?: readonly Obstacle[];
}

export interface Speeds {
  readonly imagesPerSecond?: Speed;
  readonly millisecondsPerStep?: Speed;
  readonly exchangeBytesPerSecond?: Speed;
}

export interface ToExtract {
  readonly pictures: number;
  /** Views of them that are not kept. */
  readonly views: number;
  /** Pictures whose plain view is not kept: each gets a thumbnail. */
  readonly thumbnails: number;
}

/** A part of what is trained. */
export interface TrainedPart {
  readonly layers: number;
  readonly parameters: number;
}

/** What a job would do and cost. Plain JSON. */
export interface Plan {
  readonly source: string;
  readonly backbone: {
    readonly name: string;
    readonly digest: string;
    /** The layer whose output is the feature; `input` where pictures themselves are. */
    readonly cut: string;
    /** The last layer that is used. */
    readonly lastLayer: string;
    readonly size: number;
  };
  readonly pictures: number;
  readonly classes: readonly string[];
  readonly counts: SplitCounts;
  readonly countsExact: boolean;
  /** `bytes`: of one feature. `pixels`: features are the pictures themselves. `views`: of every training picture. */
  readonly features: {
    readonly shape: Shape;
    readonly dtype: "float32" | "uint8";
    readonly pixels: boolean;
    readonly bytes: number;
    readonly views: number;
    readonly shardRows: number;
  };
  readonly extraction: {
    readonly engine: string;
    readonly cached: Figure;
    readonly toExtract: Figure;
    readonly viewsToExtract: Figure;
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
    readonly engine: string;
    readonly parameters: number;
    /** Layers of the backbone above the cut. */
    readonly tail: TrainedPart;
    readonly head: TrainedPart;
    /** Null where nothing of it is trained. `statistics`: moving means and variances, beside the parameters. */
    readonly batchNorm: { readonly mode: "FROZEN" | "BATCH"; readonly statistics: number } | null;
    readonly start: { readonly weights: InitialWeights; readonly headFromClass: string | null; readonly initializer: Initializer };
    readonly multiplyAddsPerRow: number;
    readonly steps: Figure;
    readonly batchSize: number;
    readonly grains: number;
    readonly evaluateEverySteps: number;
    /** Features of all rows in bytes, and how much of them a trainer may hold. `windowRows`: rows of each grain that are shuffled with each other where features are streamed, null where they are held. */
    readonly rows: { readonly bytes: number; readonly memoryBytes: number; readonly windowRows: number | null };
    readonly trainers: number;
    readonly trainersReason: string;
    readonly exchangeBytesPerStep: number;
    readonly millisecondsPerStep: Speed;
    readonly seconds: number;
    /** Of a process with its trainers: one, or all of them where they share a machine. */
    readonly memory: TrainerMemory;
  };
  /** Why the job cannot run; empty if it can. */
  readonly obstacles: readonly Obstacle[];
  /** What a user should know. */
  readonly notes: readonly string[];
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
  const { job, counts, classes, exact, network } = inputs;
  if (inputs.pictures === 0 || classes.length === 0) {
    throw new CodedError(
      "DATASET_INVALID",
      `dataset ${printable(job.dataset.source)}: no pictures found; expected one folder of pictures for each class`,
    );
  }
  // Names can be checked already; balanced weights need counted pictures.
  if (job.training.classWeights.kind === "given") classWeightsOf(job.training.classWeights, classes, counts.train);
  const training = trainingShape(job, network, { classes, counts });
  const { name, digest, parameters: backboneParameters } = inputs.backbone;
  const bytesPerValue = valueBytes(network.pixels ? "uint8" : "float32");
  const trained = trainingOf(inputs, training);
  const memory: MemoryQuestion = { ...inputs, backboneParameters, trainersTogether: inputs.local ? trained.trainers : 1 };
  const plan: Omit<Plan, "obstacles" | "notes"> = {
    source: job.dataset.source,
    backbone: { name, digest, cut: network.cut, lastLayer: network.network.output, size: network.preprocessing.size },
    pictures: inputs.pictures,
    classes,
    counts,
    countsExact: exact,
    features: {
      shape: network.featureShape,
      dtype: network.pixels ? "uint8" : "float32",
      pixels: network.pixels,
      bytes: elementCount(network.featureShape) * bytesPerValue,
      views: job.views.count,
      shardRows: shardRowLimit(network.featureShape, bytesPerValue),
    },
    extraction: { ...extractionOf(inputs, elementCount(network.featureShape) * bytesPerValue), memoryBytes: extractorMemory(memory) },
    training: { ...trained, memory: trainerMemory(memory) },
  };
  return {
    ...plan,
    obstacles: [...(inputs.obstacles ?? []), ...obstaclesOf(plan, training, memory, inputs.memoryBytes)],
    notes: notesOf(plan, job),
  };
}

/** @throws CodedError with the code of the first obstacle and the text of all. */
export function assertFeasible(plan: Plan): void {
  const [first] = plan.obstacles;
  if (first !== undefined)
    throw new CodedError(first.code, plan.obstacles.map(({ message }) => message).join("\n"), { obstacles: plan.obstacles });
}

function extractionOf(inputs: PlanInputs, bytesOfFeature: number): Omit<Plan["extraction"], "memoryBytes"> {
  const { job, counts, exact, network, local, cached } = inputs;
  const tasks = planTasks(inputs.pictures);
  const extractors = Math.max(1, Math.min(job.extractors.max, Math.max(job.extractors.min, tasks.tasks)));
  const multiplyAdds = multiplyAddsPerImage(network.prefix);
  const imagesPerSecond = inputs.speeds?.imagesPerSecond ?? assumedExtraction(inputs.engines.extraction, multiplyAdds);
  const { pictures, views, thumbnails } = inputs.toExtract ?? estimatedExtraction(inputs.pictures - cached, counts, job.views.count);
  return {
    engine: inputs.engines.extraction,
    cached: { value: cached, exact },
    toExtract: { value: pictures, exact },
    viewsToExtract: { value: views, exact },
    tasks: tasks.tasks,
    taskPictures: tasks.taskPictures,
    bytesToWrite: views * (bytesOfFeature + ROW_OVERHEAD_BYTES) + thumbnails * THUMBNAIL_BYTES,
    extractors,
    multiplyAddsPerImage: multiplyAdds,
    imagesPerSecond,
    seconds: views / imagesPerSecond.value / (local ? 1 : extractors),
  };
}

/** Nothing is kept of these pictures; evaluation pictures have the plain view only. */
function estimatedExtraction(pictures: number, counts: SplitCounts, views: number): ToExtract {
  const viewsEach = featureRows(counts, views) / Math.max(1, featureRows(counts, 1));
  return { pictures, views: Math.round(pictures * viewsEach), thumbnails: pictures };
}

function trainingOf(inputs: PlanInputs, training: TrainingShape): Omit<Plan["training"], "memory"> {
  const { job, counts, exact, network, local, speeds } = inputs;
  const { grains, batchSize, steps, evaluateEverySteps, trainable } = training;
  const parameters = training.layout.length;
  const oneTrainer = speeds?.millisecondsPerStep ?? assumedStep(inputs.engines.training, trainable, batchSize, grains);
  const choice = chooseTrainers({
    wanted: job.trainers,
    grains,
    parameters,
    millisecondsPerStep: oneTrainer.value,
    exchangeBytesPerSecond: (speeds?.exchangeBytesPerSecond ?? assumedExchange).value,
    local,
  });
  // What was measured has the evaluations on the way in it. A forward pass is a third of a step's work.
  const onTheWay = oneTrainer.origin === "measured" ? 0 : total(counts.validation) * Math.ceil(steps / evaluateEverySteps);
  const atTheEnd = total(counts.train) + total(counts.validation) + total(counts.test);
  const evaluationSeconds = (((onTheWay + atTheEnd) / batchSize) * oneTrainer.value) / 3000;
  const tailParameters = network.tail === undefined ? 0 : parameterCount(network.tail).trainable;
  const tailLayers = network.tail?.layers.length ?? 0;
  const statistics = training.statisticsLayout.length;
  return {
    engine: inputs.engines.training,
    parameters,
    tail: { layers: tailLayers, parameters: tailParameters },
    head: { layers: trainable.layers.length - tailLayers, parameters: parameters - tailParameters },
    batchNorm: statistics === 0 ? null : { mode: job.training.batchNorm, statistics },
    start: { weights: job.initialWeights, headFromClass: job.head.initialFromClass ?? null, initializer: job.head.initializer },
    multiplyAddsPerRow: multiplyAddsPerImage(trainable),
    steps: { value: steps, exact: exact || "steps" in job.training.length },
    batchSize,
    grains,
    evaluateEverySteps,
    rows: {
      bytes: training.features.bytes,
      memoryBytes: training.features.memoryBytes,
      windowRows: training.streaming === undefined ? null : windowRowsMax(training.streaming),
    },
    trainers: choice.trainers,
    trainersReason: choice.reason,
    exchangeBytesPerStep: choice.exchangeBytesPerStep,
    millisecondsPerStep: { value: choice.millisecondsPerStep, origin: oneTrainer.origin },
    seconds: (steps * choice.millisecondsPerStep) / 1000 + evaluationSeconds,
  };
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
