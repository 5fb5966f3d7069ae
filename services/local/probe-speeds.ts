import { availableParallelism } from "node:os";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { CutBackbone } from "../../domain/job/cut-backbone.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { Speed } from "../../domain/job/plan-costs.js";
import { limits } from "../../domain/limits.js";
import { elementCount, type Weights } from "../../domain/network/network.js";
import { activationElements } from "../../domain/network/shapes.js";
import type { TrainingRows } from "../../domain/training/grains.js";
import { tensorsOf } from "../../domain/training/parameters.js";
import { shuffledOrder } from "../../domain/training/sample-order.js";
import type { TrainingPlan, TrainingShape } from "../../domain/training/training-plan.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Engine } from "../../platform/engine/engine.js";
import type { ImageDecoder } from "../../platform/image-decoder/image-decoder.js";
import { OwnGrains } from "../trainer/own-grains.js";
import { TrainingState } from "../trainer/training-state.js";

/** How long a step, or decoding, or the forward pass is tried after its first call, at least once. */
const STEP_MS = 2_000;
const DECODING_MS = 1_000;
const FORWARD_MS = 1_000;
/** Grains of more activations than this are tried alone, however many a step has. */
const GRAINS_TOGETHER_BYTES = 64e6;

/**
 * Milliseconds of a step of one trainer, tried: the job's own gradient and update on made-up rows. Where its activations are large one grain is run and counted as often as a step has grains.
 * @throws CodedError ENGINE_UNSUPPORTED
 */
export async function probeStep(engine: Engine, shape: TrainingShape, clock: Clock): Promise<Speed> {
  const { batchSize, grains, grainRows, classes, recipe } = shape;
  const activationBytes = 4 * activationElements(shape.trainable) * grains * grainRows;
  const together = activationBytes > GRAINS_TOGETHER_BYTES ? 1 : grains;
  const plan: TrainingPlan = { ...shape, classWeights: new Float32Array(classes.length).fill(1) };
  const rows = madeUpRows(plan, together * grainRows);
  const state = new TrainingState(plan);
  // Small values keep every activation a number; the learning rate is 0, so they stay.
  state.parameters.forEach((_, index, parameters) => (parameters[index] = ((index % 7) - 3) * 0.01));
  for (const [name, { data }] of tensorsOf(plan.statisticsLayout, state.statistics)) data.fill(name.endsWith("/moving_variance") ? 1 : 0);

  const order = shuffledOrder(recipe.seed, rows.labels.length, batchSize);
  const own = await OwnGrains.open(plan, [{ first: 0, grains: together }], order, rows, engine, state.optimizer.sums, true);
  try {
    const step = async (): Promise<number> => {
      const start = clock.monotonic();
      await own.sums(0, state.parameters, state.statistics);
      const summed = clock.monotonic();
      await own.update(state.optimizer, 0, 0, 1 / batchSize);
      return (summed - start) * (grains / together) + (clock.monotonic() - summed);
    };
    await step(); // loads caches and libraries
    return { value: await medianOf(step, STEP_MS, clock), origin: "probed" };
  } finally {
    await own.release();
  }
}

/** Rows of even labels and features between 0 and 1, or pixels. */
function madeUpRows({ featureLength, preprocessing, views, classWeights }: TrainingPlan, rows: number): TrainingRows {
  const values = rows * featureLength;
  const features = preprocessing === undefined ? new Float32Array(values) : new Uint8Array(values);
  const scale = preprocessing === undefined ? 1 / 256 : 1;
  for (let index = 0; index < values; index++) features[index] = ((index * 7919) & 255) * scale;
  return {
    views: Array.from({ length: views }, () => features),
    featureLength,
    labels: Int32Array.from({ length: rows }, (_, row) => row % classWeights.length),
    classWeights,
  };
}

/** What extraction is tried on. */
export interface ExtractionProbe {
  readonly job: ResolvedJob;
  readonly network: CutBackbone;
  readonly weights: Weights;
  /** What runs the frozen layers. */
  readonly engine: Engine;
  readonly decoder: ImageDecoder;
  /** Files of the dataset; none: decoding is not tried. */
  readonly pictures: readonly Uint8Array[];
}

/** Views a second on this machine, tried: decoding of the given pictures with their thumbnails, then the frozen network on made-up pixels. Nothing where no picture could be decoded. */
export async function probeExtraction(probe: ExtractionProbe, clock: Clock): Promise<Speed | undefined> {
  const decoding = await decodingMs(probe, clock);
  if (decoding === undefined) return undefined;
  return { value: 1000 / (decoding + (probe.network.pixels ? 0 : await forwardMs(probe, clock))), origin: "probed" };
}

/** Milliseconds a view where all cores decode. */
async function decodingMs({ job, network, decoder, pictures }: ExtractionProbe, clock: Clock): Promise<number | undefined> {
  const views = Array.from({ length: job.views.count }, (_, view) => view);
  let decoded = 0;
  const decode = async (bytes: Uint8Array): Promise<void> => {
    const request = { imageId: sha256Hex(bytes), augmentation: job.views.augmentation, views };
    const found = await decoder.decodeViews(bytes, network.preprocessing, request);
    if (found.kind === "rejected") return;
    await decoder.thumbnail(found.pictures[0]!, network.preprocessing.size);
    decoded += views.length;
  };
  const [first] = pictures;
  if (first === undefined) return undefined;
  await decode(first); // loads the library
  decoded = 0;
  const start = clock.monotonic();
  const lanes = 2 * availableParallelism();
  for (let next = 0; next < pictures.length && clock.monotonic() - start < DECODING_MS; next += lanes)
    await Promise.all(pictures.slice(next, next + lanes).map(decode));
  return decoded === 0 ? undefined : (clock.monotonic() - start) / decoded;
}

/** Milliseconds a view in the frozen network. */
async function forwardMs({ network, weights, engine }: ExtractionProbe, clock: Clock): Promise<number> {
  const { prefix, preprocessing } = network;
  const forward = await engine.compileForward(prefix, weights, { batch: limits.forwardBatch, preprocessing });
  try {
    const pixels = Uint8Array.from({ length: forward.batch * elementCount(prefix.inputShape) }, (_, index) => (index * 7919) & 255);
    const call = async (): Promise<number> => {
      const start = clock.monotonic();
      await forward.run(pixels, forward.batch);
      return clock.monotonic() - start;
    };
    await call();
    return (await medianOf(call, FORWARD_MS, clock)) / forward.batch;
  } finally {
    await forward.release();
  }
}

/** The median of calls that tell how long they took, as many as begin within `milliseconds`, at least one. */
async function medianOf(call: () => Promise<number>, milliseconds: number, clock: Clock): Promise<number> {
  const times: number[] = [];
  const start = clock.monotonic();
  do times.push(await call());
  while (clock.monotonic() - start < milliseconds);
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
}
