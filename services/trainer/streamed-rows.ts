import type { SplitName } from "../../domain/dataset/listing.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { limits } from "../../domain/limits.js";
import { evaluationGrains } from "../../domain/training/evaluation.js";
import { evenRange, type FeatureArray, grainRows, grainsOfTrainer, type Range } from "../../domain/training/grains.js";
import { dealLanes, evaluationSegments, laneChunk, LaneOrder, type Streaming, windowRowsMax } from "../../domain/training/lanes.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { Lane, LaneStore, OpenedLane } from "../../platform/lane-store/lane-store.js";
import { DrawnLane, readChunk } from "./drawn-lane.js";
import type { Batches, EvaluatedRows, Place, RowSource } from "./row-sources.js";
import { MissingFeatures, type TrainingSet } from "./training-set.js";

/** Memory for rows on their way into lanes, as a share of what features may take: the rows before them may not be collected yet, and the shards that they come from are held beside them. */
const SHARE_OF_PACKING = 1 / 4;

/** Rows that are read from lanes while they are needed. Memory is bounded by `training.featureMemoryMib`, whatever the rows. */
export class StreamedRows implements RowSource {
  readonly #plan: TrainingPlan;
  readonly #streaming: Streaming;
  readonly #set: TrainingSet;
  readonly #store: LaneStore;
  /** Rows of the training set in each lane, and their image ids. */
  readonly #laneRows: readonly Uint32Array[];
  readonly #laneIds: readonly Uint8Array[];
  /** Rows of each split as segments, one behind the other in the order of evaluation. */
  readonly #segments: Readonly<Record<SplitName, readonly Segment[]>>;

  constructor(plan: TrainingPlan, streaming: Streaming, set: TrainingSet, store: LaneStore) {
    this.#plan = plan;
    this.#streaming = streaming;
    this.#set = set;
    this.#store = store;
    this.#laneRows = dealLanes(set.train.imageIds, plan.recipe.seed, plan.batchSize, plan.grains);
    this.#laneIds = this.#laneRows.map((rows) => idsOf(set.train.imageIds, rows));
    this.#segments = {
      train: segmentsInRow(this.#trainingLanes({ from: 0, to: plan.grains }, 0)),
      validation: this.#segmentsOf("validation"),
      test: this.#segmentsOf("test"),
    };
  }

  async prepare({ rank, trainers }: Place, signal: AbortSignal): Promise<void> {
    const { grains, evaluationRows, views } = this.#plan;
    const { rows } = this.#set.validation;
    const evaluated = evenRange(evaluationGrains(rows, evaluationRows), trainers, rank);
    const validation = overlapping(this.#segments.validation, evaluated.from * evaluationRows, evaluated.to * evaluationRows);
    // The first trainer evaluates the rest at the end: its rows lie in the same shards.
    const test = rank === 0 ? this.#segments.test : [];
    const own = grainsOfTrainer(grains, trainers, rank);
    const lost = new Set<ImageId>();
    for (let view = 0; view < views; view++) {
      const lanes = view === 0 ? [...this.#trainingLanes(own, 0), ...validation, ...test] : this.#trainingLanes(own, view);
      for (const imageId of await this.#missingFrom(lanes, signal)) lost.add(imageId);
    }
    if (lost.size > 0) throw new MissingFeatures([...lost]);
  }

  async openBatches({ rank, trainers }: Place, signal: AbortSignal): Promise<Batches> {
    const grains = grainsOfTrainer(this.#plan.grains, trainers, rank);
    const { batchSize, featureLength, classWeights, preprocessing, views, recipe, steps, features } = this.#plan;
    const from = grainRows(batchSize, this.#plan.grains, grains.from).from;
    const own = grainRows(batchSize, this.#plan.grains, grains.to - 1).to - from;
    const staged = preprocessing === undefined ? new Float32Array(own * featureLength) : new Uint8Array(own * featureLength);
    const labels = new Int32Array(own);
    const lanes: { readonly lane: DrawnLane; readonly rows: Range }[] = [];
    for (let grain = grains.from; grain < grains.to; grain++) {
      const opened: OpenedLane[] = [];
      for (let view = 0; view < views; view++)
        opened.push(await this.#open(this.#trainingLanes({ from: grain, to: grain + 1 }, view)[0]!, signal));
      const rows = grainRows(batchSize, this.#plan.grains, grain);
      const laneRows = this.#laneRows[grain]!;
      const lane = new DrawnLane(
        new LaneOrder(recipe.seed, grain, laneRows.length, this.#streaming),
        opened,
        { rowBytes: features.rowBytes, windowRows: windowRowsMax(this.#streaming), end: steps * (rows.to - rows.from) },
        Int32Array.from(laneRows, (row) => this.#set.train.labels[row]!),
      );
      lanes.push({ lane, rows });
    }
    const stagedBytes = new Uint8Array(staged.buffer);
    const batch = new Uint32Array(batchSize);
    for (let place = 0; place < own; place++) batch[from + place] = place;
    return {
      order: {
        batch: async (step) => {
          await Promise.all(
            lanes.map(({ lane, rows }) => {
              const count = rows.to - rows.from;
              return lane.draw(step * count, count, { features: stagedBytes, labels, at: rows.from - from });
            }),
          );
          return batch;
        },
      },
      rows: { views: [staged], featureLength, labels, classWeights },
      close: async () => {
        for (const { lane } of lanes) await lane.close();
      },
    };
  }

  split(name: SplitName, signal: AbortSignal): EvaluatedRows {
    const segments = this.#segments[name];
    const { rows, labels } = this.#set[name];
    const { rowBytes } = this.#plan.features;
    let held: { readonly segment: Segment; readonly opened: OpenedLane; chunk: number; readonly bytes: Uint8Array } | undefined;
    const read = async (from: number, to: number, into: FeatureArray): Promise<void> => {
      const target = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
      for (let row = from; row < to;) {
        const segment = segments.find((each) => row < each.to)!;
        if (held?.segment !== segment) {
          const opened = await this.#openOf(segments, segment, signal);
          held = { segment, opened, chunk: -1, bytes: new Uint8Array(opened.chunkRows * rowBytes) };
        }
        const chunk = Math.floor((row - segment.from) / held.opened.chunkRows);
        const places = laneChunk(held.opened.rows, held.opened.chunkRows, chunk);
        if (held.chunk !== chunk) {
          held.chunk = -1;
          await readChunk(held.opened, chunk, held.bytes, signal);
          held.chunk = chunk;
        }
        const until = Math.min(to, segment.from + places.to);
        const first = row - segment.from - places.from;
        target.set(held.bytes.subarray(first * rowBytes, (first + until - row) * rowBytes), (row - from) * rowBytes);
        row = until;
      }
      if (to === rows) held = undefined; // memory for what comes next
    };
    return { rows, labels: name === "train" ? this.#labelsInLanes() : labels, read };
  }

  #labelsInLanes(): Int32Array {
    const { labels } = this.#set.train;
    const ordered = new Int32Array(labels.length);
    let at = 0;
    for (const rows of this.#laneRows) for (const row of rows) ordered[at++] = labels[row]!;
    return ordered;
  }

  #segmentsOf(name: SplitName): Segment[] {
    const { rows, imageIds } = this.#set[name];
    const { evaluationRows, grains } = this.#plan;
    return segmentsInRow(
      evaluationSegments(rows, evaluationRows, grains).map(({ from, to }) => ({
        view: 0,
        chunkRows: evaluationRows,
        imageIds: imageIds.subarray(from * IMAGE_ID_BYTES, to * IMAGE_ID_BYTES),
      })),
    );
  }

  #trainingLanes({ from, to }: Range, view: number): Lane[] {
    return this.#laneIds.slice(from, to).map((imageIds) => ({ view, chunkRows: this.#streaming.chunkRows, imageIds }));
  }

  async #pack(lanes: readonly Lane[], signal: AbortSignal): Promise<void> {
    const missing = await this.#missingFrom(lanes, signal);
    if (missing.length > 0) throw new MissingFeatures(missing);
  }

  /** Makes the lanes that are not there; resolves the pictures without features that keep it from that. */
  async #missingFrom(lanes: readonly Lane[], signal: AbortSignal): Promise<readonly ImageId[]> {
    const memory = Math.min(this.#plan.features.memoryBytes * SHARE_OF_PACKING, limits.lanePartBytes * lanes.length);
    const outcome = await this.#store.pack(lanes, memory, signal);
    return outcome.kind === "missing" ? outcome.imageIds : [];
  }

  async #open(lane: Lane, signal: AbortSignal): Promise<OpenedLane> {
    for (;;) {
      const opened = await this.#store.open(lane);
      if (opened !== undefined) return opened;
      await this.#pack([lane], signal);
    }
  }

  /** Where a segment has to be made, those behind it are made with it: their rows lie in the same shards. */
  async #openOf(segments: readonly Segment[], segment: Segment, signal: AbortSignal): Promise<OpenedLane> {
    const opened = await this.#store.open(segment);
    if (opened !== undefined) return opened;
    await this.#pack(segments.slice(segments.indexOf(segment)), signal);
    return this.#open(segment, signal);
  }
}

/** A lane whose rows stand at `from` up to, not including, `to` of their split. */
interface Segment extends Lane, Range {}

/** Those that have rows, one behind the other. */
function segmentsInRow(lanes: readonly Lane[]): Segment[] {
  let from = 0;
  return lanes
    .filter(({ imageIds }) => imageIds.length > 0)
    .map((lane) => {
      const to = from + lane.imageIds.length / IMAGE_ID_BYTES;
      const segment = { ...lane, from, to };
      from = to;
      return segment;
    });
}

function overlapping(segments: readonly Segment[], from: number, to: number): Segment[] {
  return segments.filter((segment) => segment.from < to && from < segment.to);
}

function idsOf(imageIds: Uint8Array, rows: Uint32Array): Uint8Array {
  const ids = new Uint8Array(rows.length * IMAGE_ID_BYTES);
  rows.forEach((row, place) => ids.set(imageIds.subarray(row * IMAGE_ID_BYTES, (row + 1) * IMAGE_ID_BYTES), place * IMAGE_ID_BYTES));
  return ids;
}
