import assert from "node:assert";
import { philox, permutation, randomKey, RandomStream } from "../random.js";
import { evaluationGrainRows, evaluationGrains } from "./evaluation.js";
import { evenRange, grainRows, type Range } from "./grains.js";

/**
 * Training on features that are larger than memory. The training rows are dealt to one lane for each grain, and grain i takes its rows from lane i alone: a trainer reads the lanes of
 * its grains, whatever the number of trainers. A lane is read endlessly, pass after pass: in every pass its chunks come in another order, so many of them as a window holds are
 * held at once, and the rows of a window come in an order of their own. All of it is a function of seed, sample table and `Streaming`; any position can be begun at.
 */
export interface Streaming {
  /** Rows of a lane that are read at once; the last chunk of a lane may be shorter. */
  readonly chunkRows: number;
  /** Chunks of one window at most. */
  readonly windowChunks: number;
}

/** Chunks of a window: enough that no two passes hold the same rows together, few enough that each is worth a request. */
const CHUNKS_OF_WINDOW = 8;
/** What lanes get of the memory for features; the rest is for shards on their way into lanes and for evaluation. */
const SHARE_OF_LANES = 1 / 2;

/** The largest windows of which each lane can hold two, the one that it draws from and the next: so even one trainer with all lanes stays within the memory. Undefined where a window cannot hold one row. */
export function streamingWithin(memoryBytes: number, grains: number, rowBytes: number): Streaming | undefined {
  const windowRows = Math.floor((memoryBytes * SHARE_OF_LANES) / (2 * grains * rowBytes));
  if (windowRows < 1) return undefined;
  const chunkRows = Math.max(1, Math.floor(windowRows / CHUNKS_OF_WINDOW));
  return { chunkRows, windowChunks: Math.floor(windowRows / chunkRows) };
}

/** Memory with which `streamingWithin` finds windows of at least `rows` rows: chunks of more than one row may leave an eighth of a window free. */
export function memoryForWindows(rows: number, grains: number, rowBytes: number): number {
  const windowRows = rows < 2 * CHUNKS_OF_WINDOW ? rows : Math.ceil((rows * CHUNKS_OF_WINDOW) / (CHUNKS_OF_WINDOW - 1));
  return (windowRows * 2 * grains * rowBytes) / SHARE_OF_LANES;
}

export function windowRowsMax({ chunkRows, windowChunks }: Streaming): number {
  return chunkRows * windowChunks;
}

/**
 * Rows of the training set in each lane, in the lane's order. All rows are sorted by a hash of seed and image id and then dealt like a batch: each lane gets as large a share of the rows as its
 * grain has of a batch, so that every row is trained on equally often, but for the rest of a deal. `imageIds`: `[rows, 32]`, each once.
 */
export function dealLanes(imageIds: Uint8Array, seed: number, batchSize: number, grains: number): Uint32Array[] {
  const sorted = sortedByHash(imageIds, seed);
  const cycle = laneCycle(batchSize, grains);
  const lengths = new Uint32Array(grains);
  for (let place = 0; place < sorted.length; place++) lengths[cycle[place % cycle.length] as number]! += 1;
  const lanes = Array.from(lengths, (length) => new Uint32Array(length));
  lengths.fill(0);
  for (let place = 0; place < sorted.length; place++) {
    const lane = cycle[place % cycle.length] as number;
    lanes[lane]![lengths[lane]!++] = sorted[place] as number;
  }
  return lanes;
}

/** Lanes of the rows of one deal: the grains' sizes in lowest terms. */
function laneCycle(batchSize: number, grains: number): number[] {
  const sizes = Array.from({ length: grains }, (_, grain) => {
    const { from, to } = grainRows(batchSize, grains, grain);
    return to - from;
  });
  const divisor = sizes.reduce(greatestCommonDivisor);
  return sizes.flatMap((size, grain) => new Array<number>(size / divisor).fill(grain));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Row numbers by hash, of equal hashes by number. Hash and number share one float64, which sorts a hundred times faster than a comparison in JavaScript. */
function sortedByHash(imageIds: Uint8Array, seed: number): Uint32Array {
  const { low, high } = randomKey(seed, "lanes");
  const words = new DataView(imageIds.buffer, imageIds.byteOffset, imageIds.byteLength);
  const rows = imageIds.length / 32;
  // Numbers of rows take so many values, hashes the rest of what a float64 holds exactly.
  let span = 2;
  while (span < rows) span *= 2;
  const hashes = (Number.MAX_SAFE_INTEGER + 1) / span;
  const block = new Uint32Array(4);
  const sorted = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const word = (index: number): number => words.getUint32(row * 32 + 4 * index, true);
    philox(word(0), word(1), word(2), word(3), low, high, block, 0);
    sorted[row] = Math.floor(((block[0] as number) * hashes) / 4294967296) * span + row;
  }
  return Uint32Array.from(sorted.sort(), (value) => value % span);
}

/** A stretch of a lane's endless sequence whose rows are held at once. */
export interface LaneWindow {
  /** Position of its first row in the sequence. */
  readonly from: number;
  readonly to: number;
  /** Passes over the lane before it. */
  readonly pass: number;
  /** Chunks of the lane, one behind the other as they are held. */
  readonly chunks: Uint32Array;
  /** `[to - from]`: which of the held rows is drawn at each position … */
  readonly held: Uint32Array;
  /** … and its place in the lane. */
  readonly places: Uint32Array;
}

/** The order in which one lane's rows are drawn. */
export class LaneOrder {
  readonly rows: number;
  readonly #streaming: Streaming;
  readonly #lane: number;
  readonly #chunkStream: RandomStream;
  readonly #rowStream: RandomStream;

  constructor(seed: number, lane: number, rows: number, streaming: Streaming) {
    assert(rows >= 1, `lane ${lane} is empty`);
    this.rows = rows;
    this.#streaming = streaming;
    this.#lane = lane;
    this.#chunkStream = new RandomStream(randomKey(seed, "lane chunks"));
    this.#rowStream = new RandomStream(randomKey(seed, "lane rows"));
  }

  get chunks(): number {
    return Math.ceil(this.rows / this.#streaming.chunkRows);
  }

  /** Places of the lane that chunk `chunk` holds. */
  chunkRows(chunk: number): Range {
    return laneChunk(this.rows, this.#streaming.chunkRows, chunk);
  }

  /** The window that holds position `position` of the endless sequence. Exact: positions stay below 2^53. */
  windowAt(position: number): LaneWindow {
    const pass = Math.floor(position / this.rows);
    this.#chunkStream.seek(pass, this.#lane);
    const order = permutation(this.#chunkStream, new Uint32Array(this.chunks));
    const windows = Math.ceil(order.length / this.#streaming.windowChunks);
    let from = pass * this.rows;
    for (let index = 0; ; index++) {
      // Even, so that no window of a pass is much smaller than the others.
      const range = evenRange(order.length, windows, index);
      const chunks = order.subarray(range.from, range.to);
      const rows = chunks.reduce((sum, chunk) => sum + lengthOf(this.chunkRows(chunk)), 0);
      if (position < from + rows) return this.#window(pass, pass * windows + index, from, rows, chunks);
      from += rows;
    }
  }

  #window(pass: number, number: number, from: number, rows: number, chunks: Uint32Array): LaneWindow {
    this.#rowStream.seek(number, this.#lane);
    const held = permutation(this.#rowStream, new Uint32Array(rows));
    const placeOfHeld = new Uint32Array(rows);
    let at = 0;
    for (const chunk of chunks) {
      const { from: first, to } = this.chunkRows(chunk);
      for (let place = first; place < to; place++) placeOfHeld[at++] = place;
    }
    return { from, to: from + rows, pass, chunks, held, places: held.map((row) => placeOfHeld[row] as number) };
  }
}

/** Places of a lane of `rows` rows that chunk `chunk` holds. */
export function laneChunk(rows: number, chunkRows: number, chunk: number): Range {
  return { from: chunk * chunkRows, to: Math.min(rows, (chunk + 1) * chunkRows) };
}

/**
 * Rows of a split that is evaluated while training goes on, divided into as many segments as there are grains, each of whole evaluation grains: so trainers share the work of bringing
 * them in order. Segments may be empty.
 */
export function evaluationSegments(rows: number, evaluationRows: number, grains: number): Range[] {
  const whole = evaluationGrains(rows, evaluationRows);
  return Array.from({ length: grains }, (_, segment) => {
    const { from, to } = evenRange(whole, grains, segment);
    return from === to
      ? { from: rows, to: rows }
      : { from: evaluationGrainRows(rows, evaluationRows, from).from, to: evaluationGrainRows(rows, evaluationRows, to - 1).to };
  });
}

function lengthOf({ from, to }: Range): number {
  return to - from;
}
