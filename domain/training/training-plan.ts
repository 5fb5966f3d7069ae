import { CodedError, type ErrorCode } from "../errors.js";
import { valueBytes } from "../features/plan-tasks.js";
import { featureRows } from "../job/expected-counts.js";
import type { CutBackbone } from "../job/cut-backbone.js";
import type { ResolvedJob, Recipe } from "../job/job.js";
import type { SamplesRecord } from "../job/records.js";
import { appendNetwork, headNetwork } from "../network/compose.js";
import { elementCount, type Network } from "../network/network.js";
import type { Preprocessing } from "../network/preprocessing.js";
import { layerShapes } from "../network/shapes.js";
import { classWeightsOf } from "./class-weights.js";
import { type DropoutLayer, grainCount, grainRowsMax } from "./grains.js";
import { lossProblem } from "./loss.js";
import { evaluationRowsOf } from "./evaluation.js";
import { memoryForWindows, type Streaming, streamingWithin, windowRowsMax } from "./lanes.js";
import { parameterLayout, statisticsLayout, type ParameterLayout } from "./parameters.js";
import { stepsOf } from "./sample-order.js";

/** What of a training follows from the spec, the feature shape and the number of pictures, which may be an estimate. */
export interface TrainingShape {
  readonly recipe: Recipe;
  readonly classes: readonly string[];
  /** Tail and head, from the feature to logits `[outputs]`. */
  readonly trainable: Network;
  readonly layout: ParameterLayout;
  /** Moving statistics of batch norm, beside the parameters. */
  readonly statisticsLayout: ParameterLayout;
  /** Where features are pixels: how the trained network normalises them. */
  readonly preprocessing: Preprocessing | undefined;
  /** Views of every training picture; epoch e uses view e mod views. */
  readonly views: number;
  /** Logits: one per class, or one for two classes with sigmoid. */
  readonly outputs: number;
  readonly featureLength: number;
  readonly trainRows: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly grains: number;
  readonly grainRows: number;
  readonly dropout: readonly DropoutLayer[];
  readonly evaluateEverySteps: number;
  /** Steps between histograms in the event files. */
  readonly histogramEverySteps: number;
  readonly checkpointEverySteps: number;
  /** Rows of one evaluation grain. */
  readonly evaluationRows: number;
  /** Features of the whole job and what of them a trainer may hold, in bytes; of one feature. */
  readonly features: { readonly bytes: number; readonly memoryBytes: number; readonly rowBytes: number };
  /** Undefined where the features are resident, so held in memory: then every epoch is one permutation of all rows. */
  readonly streaming: Streaming | undefined;
  /** Whether the weights that training starts from are worth an evaluation: those of a result or of an old class. */
  readonly evaluatesStart: boolean;
}

/** Everything that shapes the training, a pure function of the spec, the samples and the feature shape. */
export interface TrainingPlan extends TrainingShape {
  /** `[classes]`: what a training row of each class counts. */
  readonly classWeights: Float32Array;
}

/** Histograms of a whole training: enough for a curve, few enough to cost nothing. */
const HISTOGRAMS_MAX = 20;
const MEBIBYTE = 1024 * 1024;
const CHECKPOINTS_AIMED_AT = 20;
const CHECKPOINT_STEPS_MIN = 50;

/**
 * @throws CodedError NETWORK_INVALID where tail and head do not fit; SPEC_INVALID for a loss that is not for so many classes and for class weights of unknown classes;
 * DATASET_INVALID for balanced weights of a class without training pictures; SPEC_INVALID, JOB_TOO_LARGE where features can neither be held nor streamed.
 */
export function planTraining(job: ResolvedJob, cut: CutBackbone, samples: Pick<SamplesRecord, "classes" | "counts">): TrainingPlan {
  const { classes, counts } = samples;
  const problem = lossProblem(job.training.loss, classes.length);
  if (problem !== undefined) throw new CodedError("SPEC_INVALID", problem);
  const shape = trainingShape(job, cut, samples);
  const unstreamable = streamingProblem(shape);
  if (unstreamable !== undefined) throw new CodedError(unstreamable.code, unstreamable.message);
  return {
    ...shape,
    classWeights: classWeightsOf(job.training.classWeights, classes, counts.train),
  };
}

/** The same without what needs counted pictures and fitting classes: for a plan that says what a job would cost. @throws CodedError NETWORK_INVALID */
export function trainingShape(job: ResolvedJob, cut: CutBackbone, samples: Pick<SamplesRecord, "classes" | "counts">): TrainingShape {
  const recipe = job.training;
  const { tail, featureShape, pixels, preprocessing } = cut;
  const { classes, counts } = samples;
  const outputs = recipe.loss.kind === "sigmoid" ? 1 : classes.length;
  const tailOutput = tail === undefined ? featureShape : (layerShapes(tail).get(tail.output) ?? featureShape);
  const trainable = appendNetwork(tail, headNetwork(tailOutput, job.head.layers, outputs));
  const layout = parameterLayout(trainable);
  const trainRows = counts.train.reduce((sum, count) => sum + count, 0);
  const { batchSize } = recipe;
  const grains = grainCount(batchSize, recipe.grains, layout.length);
  const rowBytes = elementCount(featureShape) * valueBytes(pixels ? "uint8" : "float32");
  const features = { bytes: featureRows(counts, job.views.count) * rowBytes, memoryBytes: recipe.featureMemoryMib * MEBIBYTE, rowBytes };
  const steps = stepsOf(recipe.length, trainRows, batchSize);
  const evaluateEverySteps = evaluationInterval(recipe.evaluateEvery, steps, trainRows, batchSize);
  return {
    recipe,
    classes,
    trainable,
    layout,
    statisticsLayout: statisticsLayout(trainable),
    preprocessing: pixels ? preprocessing : undefined,
    views: job.views.count,
    outputs,
    featureLength: elementCount(featureShape),
    trainRows,
    steps,
    batchSize,
    grains,
    grainRows: grainRowsMax(batchSize, grains),
    dropout: dropoutLayers(trainable),
    evaluateEverySteps,
    histogramEverySteps: evaluateEverySteps * Math.ceil(Math.ceil(steps / evaluateEverySteps) / HISTOGRAMS_MAX),
    checkpointEverySteps: Math.max(CHECKPOINT_STEPS_MIN, Math.ceil(steps / CHECKPOINTS_AIMED_AT)),
    evaluationRows: evaluationRowsOf(trainable),
    features,
    streaming: features.bytes <= features.memoryBytes ? undefined : streamingOf(features, grains),
    evaluatesStart: job.initialWeights.kind === "result" || job.head.initialFromClass !== undefined,
  };
}

/** Where not even one row fits, windows of one row, which `streamingProblem` refuses. */
function streamingOf({ memoryBytes, rowBytes }: TrainingShape["features"], grains: number): Streaming {
  return streamingWithin(memoryBytes, grains, rowBytes) ?? { chunkRows: 1, windowChunks: 1 };
}

/** Why a job whose features are more than it may hold cannot be streamed either. */
export function streamingProblem({
  streaming,
  features,
  grains,
  grainRows,
  batchSize,
  trainRows,
  recipe,
}: TrainingShape): { readonly code: ErrorCode; readonly message: string } | undefined {
  if (streaming === undefined) return undefined;
  const more = `the features need ${mebibytes(features.bytes)}, training.featureMemoryMib is ${recipe.featureMemoryMib}`;
  if (recipe.sampling === "CLASS_BALANCED") {
    const message = `${more}, so they are streamed; training.sampling CLASS_BALANCED draws from all rows at any time and needs them in memory: raise training.featureMemoryMib, or use SHUFFLED with training.classWeights balanced`;
    return { code: "SPEC_INVALID", message };
  }
  if (trainRows < batchSize)
    return {
      code: "JOB_TOO_LARGE",
      message: `${more}, and streaming needs at least one batch of ${batchSize} training rows, found ${trainRows}`,
    };
  if (windowRowsMax(streaming) >= grainRows) return undefined;
  const needed = memoryForWindows(grainRows, grains, features.rowBytes);
  const message = `${more}, and streaming needs at least ${mebibytes(needed)}; raise it, or choose a smaller batch or a later cut`;
  return { code: "JOB_TOO_LARGE", message };
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / MEBIBYTE)} MiB`;
}

function evaluationInterval(every: Recipe["evaluateEvery"], steps: number, trainRows: number, batchSize: number): number {
  return "times" in every ? Math.ceil(steps / every.times) : stepsOf(every, trainRows, batchSize);
}

function dropoutLayers(network: Network): DropoutLayer[] {
  const shapes = layerShapes(network);
  return network.layers.flatMap((layer) =>
    layer.kind === "dropout" ? [{ name: layer.name, units: elementCount(shapes.get(layer.name) ?? []), rate: layer.rate }] : [],
  );
}
