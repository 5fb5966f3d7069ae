import { planTasks, valueBytes } from "../features/plan-tasks.js";
import { limits } from "../limits.js";
import type { Network } from "../network/network.js";
import { activationElements, parameterCount } from "../network/shapes.js";
import { grainsOfCall } from "../training/call-grains.js";
import type { EngineName } from "../training/trainable-layers.js";
import { type TrainingShape, trainingShape } from "../training/training-plan.js";
import { slotNames } from "../training/optimizer-programs.js";
import type { CutBackbone } from "./cut-backbone.js";
import { featureRows, type SplitCounts } from "./expected-counts.js";
import type { ResolvedJob } from "./job.js";

/** What an engine takes, measured on whole runs (2026, Linux x64; a test compares such runs with the model). */
interface EngineMemory {
  /** Node, the engine's library and the program, before any data. */
  readonly processBytes: number;
  /** Bytes for each byte of activations of a gradient; backward passes keep what they need of the forward pass. */
  readonly gradient: number;
  /** The same of an evaluation, whose activations are handed out for histograms. */
  readonly evaluation: number;
  /** Vectors of parameters beside the trainer's own: partial gradients of so many grains a step, copies. */
  readonly parameterVectors: (grains: number) => number;
  /** Grains that share one pass, so that all of them are held at once. */
  readonly grainsAtOnce: (shape: TrainingShape, batchNorm: "FROZEN" | "BATCH") => number;
}

/** onnx runs two calls beside each other, or more that hold no more together. It holds the products of all grains but one of each pair, once as they are added up and once as its allocator keeps them; tensorflow one sum for each level of the tree. */
const engineMemory: Readonly<Record<EngineName, EngineMemory>> = {
  onnx: {
    processBytes: 225e6,
    gradient: 2,
    evaluation: 3,
    parameterVectors: (grains) => grains,
    grainsAtOnce: ({ trainable, grainRows, grains }, batchNorm) => grainsOfCall(trainable, batchNorm, grainRows, grains),
  },
  tensorflow: {
    processBytes: 520e6,
    gradient: 1.1,
    evaluation: 1.5,
    parameterVectors: (grains) => Math.log2(grains) + 2,
    grainsAtOnce: () => 1,
  },
};

function memoryOf(engine: string): EngineMemory {
  return engine === "tensorflow" ? engineMemory.tensorflow : engineMemory.onnx;
}

/** Peak memory of a trainer in bytes, by what takes it. */
export interface TrainerMemory {
  /** Program and engine. */
  readonly process: number;
  /** Weights of the whole backbone, as they are kept and as they are exported. */
  readonly backbone: number;
  /** All views of the training rows, the plain one of the others; where they are streamed, the memory that they may take. */
  readonly features: number;
  /** Parameters, gradient, slots of the optimiser, best weights, partial sums. */
  readonly parameters: number;
  /** Rows of one gradient and of one evaluation on their way through the network. */
  readonly activations: number;
  /** A checkpoint or the files of the result, whichever is larger, while they are written. */
  readonly files: number;
  readonly total: number;
}

/** What the memory of workers depends on. */
export interface MemoryQuestion {
  readonly job: ResolvedJob;
  readonly network: CutBackbone;
  readonly classes: readonly string[];
  readonly counts: SplitCounts;
  readonly engines: { readonly extraction: string; readonly training: string };
  /** Values of all weights that are stored of the backbone. */
  readonly backboneParameters: number;
  /** Trainers that share one process and its features. */
  readonly trainersTogether: number;
}

function bytesOfFeature({ featureShape, pixels }: CutBackbone): number {
  return featureShape.reduce((product, length) => product * length, 1) * valueBytes(pixels ? "uint8" : "float32");
}

/** @throws CodedError NETWORK_INVALID where tail and head do not fit */
export function trainerMemory(question: MemoryQuestion): TrainerMemory {
  const { job, network, backboneParameters, trainersTogether } = question;
  const engine = memoryOf(question.engines.training);
  const shape = trainingShape(job, network, question);
  const vector = 4 * shape.layout.length;
  const slots = slotNames(job.training.optimizer).length;
  const best = job.training.earlyStopping === undefined ? 0 : 1;
  const statistics = 4 * shape.statisticsLayout.length;

  const exported = 4 * parameterCount(network.prefix).total + vector + statistics;
  const checkpoint = (1 + slots + best) * vector + (1 + best) * statistics;
  const parts = {
    process: engine.processBytes,
    backbone: 2 * 4 * backboneParameters,
    features: Math.min(shape.features.bytes, shape.features.memoryBytes),
    parameters: trainersTogether * ((2 + slots + best + engine.parameterVectors(shape.grains)) * vector + (2 + best) * statistics),
    activations: trainersTogether * activationBytes(shape, job.training.batchNorm, engine, bytesOfFeature(network)),
    // The result holds the network twice, as ONNX and for TensorFlow.js, and once what was trained.
    files: Math.max(checkpoint, 2 * exported + vector + statistics),
  };
  return { ...parts, total: Object.values(parts).reduce((sum, part) => sum + part, 0) };
}

/** Allocators keep what they once had, so gradient and evaluation add up. */
function activationBytes(shape: TrainingShape, batchNorm: "FROZEN" | "BATCH", engine: EngineMemory, featureBytes: number): number {
  const perRow = 4 * activationElements(shape.trainable);
  const rows = shape.grains * shape.grainRows;
  const atOnce = engine.grainsAtOnce(shape, batchNorm) * shape.grainRows;
  return engine.gradient * atOnce * perRow + rows * featureBytes + shape.evaluationRows * (engine.evaluation * perRow + featureBytes);
}

/** Peak memory of an extractor in bytes: program, backbone, frozen weights as they are folded and as the engine holds them, pictures in flight, activations of a batch, shards as they are filled, encoded and hashed. */
export function extractorMemory({ job, network, engines, backboneParameters, counts }: MemoryQuestion): number {
  const { processBytes } = memoryOf(engines.extraction);
  const { prefix, preprocessing } = network;
  const frozen = network.pixels ? 0 : 4 * parameterCount(prefix).total;
  const pictureBytes = TYPICAL_FILE_BYTES + job.views.count * 3 * preprocessing.size * preprocessing.size;
  const { taskPictures } = planTasks(featureRows(counts, 1));
  const inFlight = Math.min(limits.pictureBytesInFlight, Math.min(2 * limits.picturesInGroup, taskPictures) * pictureBytes);
  const shard = Math.min(limits.shardBytes, featureRows(counts, job.views.count) * bytesOfFeature(network));
  return processBytes + 2 * 4 * backboneParameters + 3 * frozen + 2 * inFlight + forwardBytes(prefix) + 3 * shard;
}

/** A picture of 500 x 375 pixels. */
const TYPICAL_FILE_BYTES = 100e3;

/** Half of a network's activations: those that are not needed any more make room. */
function forwardBytes(prefix: Network): number {
  return prefix.layers.length === 0 ? 0 : (limits.forwardBatch * 4 * activationElements(prefix)) / 2;
}
