import assert from "node:assert";
import { createHash } from "node:crypto";
import { CodedError } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES, imageIdAt } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { laneChunk } from "../../domain/training/lanes.js";
import { decodeLaneIndex, encodeLaneIndex, type LaneIndex, type LanePart, piecesOf } from "../../formats/lane-index/lane-index.js";
import type { JobFeatures } from "../job-features/job-features.js";
import type { ObjectStore } from "../object-store/object-store.js";

/** Pieces of one chunk that are read at the same time. */
const PIECES_AT_ONCE = 4;

/** Rows in an order in which they are read one after another: training rows of one grain, or of a split that is evaluated. */
export interface Lane {
  readonly view: number;
  readonly chunkRows: number;
  /** `[rows, 32]` in the lane's order. */
  readonly imageIds: Uint8Array;
}

export type LaneOutcome =
  | { readonly kind: "complete" }
  /** Pictures whose features are not in the store (any more). */
  | { readonly kind: "missing"; readonly imageIds: readonly ImageId[] };

/**
 * Lanes: features in the order in which they are read, beside the shards that they were copied from (docs/formats/lanes-v1.md).
 *
 * features/<digest>/lanes/<key>/index.json     which rows lie where; written once, when all parts stand
 * features/<digest>/lanes/<key>/<sha256>.rows  features of some rows, named by their content
 *
 * The key is a digest of the lane's image ids in their order, view and chunk size: every job that wants the same rows in the same order reads the same objects. A lane holds nothing that the shards
 * do not: what is damaged of it is read from there, and its index is taken away, so that whoever opens it next makes it again.
 */
export class LaneStore {
  readonly #store: ObjectStore;
  readonly #features: JobFeatures;
  readonly #problems: string[] = [];
  /** One after another: each takes the memory that it may. What is asked for while one is at work is made together, in one pass over the shards, and shares its fate where features are missing: then all who train begin anew. */
  #packing: Promise<LaneOutcome | undefined> = Promise.resolve(undefined);
  #waiting: { readonly lanes: Lane[]; readonly packed: Promise<LaneOutcome> } | undefined;

  constructor(store: ObjectStore, features: JobFeatures) {
    this.#store = store;
    this.#features = features;
  }

  /** What was found damaged, one sentence each. It costs time, never a wrong result. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Makes the lanes that are not there, holding at most about `memoryBytes` and two shards: each shard that has rows of them is read once. Safe to repeat, and for several at a time. */
  pack(lanes: readonly Lane[], memoryBytes: number, signal: AbortSignal): Promise<LaneOutcome> {
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      waiting.lanes.push(...lanes);
      return waiting.packed;
    }
    const asked = [...lanes];
    const packed = this.#packing.then((before) => {
      this.#waiting = undefined;
      return before?.kind === "missing" ? before : this.#packAbsent(asked, memoryBytes, signal);
    });
    const ended = packed.catch(() => undefined);
    this.#packing = ended;
    void ended.then(() => {
      if (this.#packing === ended) this.#packing = Promise.resolve(undefined);
    });
    this.#waiting = { lanes: asked, packed };
    return packed;
  }

  async #packAbsent(lanes: readonly Lane[], memoryBytes: number, signal: AbortSignal): Promise<LaneOutcome> {
    const asked = new Map(lanes.map((lane) => [this.#folder(lane), lane]));
    const absent: Lane[] = [];
    for (const lane of asked.values()) if ((await this.#readIndex(lane)) === undefined) absent.push(lane);
    if (absent.length > 0) await this.#features.refresh();
    for (const view of new Set(absent.map((lane) => lane.view))) {
      const outcome = await this.#packView(
        absent.filter((lane) => lane.view === view),
        view,
        memoryBytes,
        signal,
      );
      if (outcome.kind === "missing") return outcome;
    }
    return { kind: "complete" };
  }

  /** Undefined where the lane has to be made first. */
  async open(lane: Lane): Promise<OpenedLane | undefined> {
    const index = await this.#readIndex(lane);
    return index && new OpenedLane(this.#store, this.#features, lane, this.#folder(lane), index, this.#problems);
  }

  async #packView(lanes: readonly Lane[], view: number, memoryBytes: number, signal: AbortSignal): Promise<LaneOutcome> {
    const rows = rowsByShard(lanes, this.#features, view);
    const parts = lanes.map((): LanePart[] => []);
    const missing = [...rows.missing];
    const rowsAtOnce = Math.max(1, Math.floor(memoryBytes / this.#features.rowBytes));
    for (const { from, to } of runsOf(rows.shards, rowsAtOnce)) {
      // Rows are numbered lane by lane in their order, so that their numbers sort them.
      const run = rows.order.slice(from, to).sort();
      const read = await this.#features.readRows(gather(run, rows, lanes), view, signal);
      // The rest is read all the same, so that what is damaged is found, and extracted again, at once.
      if (read.kind === "missing") missing.push(...read.imageIds);
      if (read.kind === "missing" || missing.length > 0) continue;
      const { buffer, byteOffset, byteLength } = read.features;
      await this.#writeParts(run, rows, lanes, new Uint8Array(buffer, byteOffset, byteLength), parts);
    }
    if (missing.length > 0) return { kind: "missing", imageIds: missing };
    for (const [number, lane] of lanes.entries()) {
      const index: LaneIndex = {
        rows: lane.imageIds.length / IMAGE_ID_BYTES,
        rowBytes: this.#features.rowBytes,
        chunkRows: lane.chunkRows,
        parts: parts[number] as LanePart[],
      };
      // Whoever was first describes the same rows.
      await this.#store.create(`${this.#folder(lane)}/index.json`, encodeLaneIndex(index));
    }
    return { kind: "complete" };
  }

  /** `bytes`: the features of the rows of `run`, which are sorted by lane and place. */
  async #writeParts(run: Uint32Array, rows: RowsByShard, lanes: readonly Lane[], bytes: Uint8Array, parts: LanePart[][]): Promise<void> {
    const { rowBytes } = this.#features;
    for (let from = 0, to = 0; from < run.length; from = to) {
      const number = rows.laneOf(run[from] as number);
      const lane = lanes[number] as Lane;
      while (to < run.length && rows.laneOf(run[to] as number) === number) to++;
      const places = run.slice(from, to).map((row) => rows.placeOf(row));
      const body = bytes.subarray(from * rowBytes, to * rowBytes);
      const sha256 = sha256Hex(body);
      await this.#createExactly(`${this.#folder(lane)}/${sha256}.rows`, body);
      const pieces = piecesOf(places, lane.chunkRows).map((piece) => ({
        ...piece,
        sha256: sha256Hex(body.subarray(piece.from * rowBytes, piece.to * rowBytes)),
      }));
      (parts[number] as LanePart[]).push({ sha256, places, pieces });
    }
  }

  #folder({ view, chunkRows, imageIds }: Lane): string {
    const key = createHash("sha256").update(`graft lane 1\n${view}\n${chunkRows}\n`).update(imageIds).digest("hex");
    return `features/${this.#features.digestOf(view)}/lanes/${key}`;
  }

  /** A damaged index is taken away: it is a copy of what shards hold. */
  async #readIndex(lane: Lane): Promise<LaneIndex | undefined> {
    const key = `${this.#folder(lane)}/index.json`;
    const body = await this.#store.read(key);
    if (body === undefined) return undefined;
    try {
      const index = decodeLaneIndex(body, key);
      const fits = index.rows * IMAGE_ID_BYTES === lane.imageIds.length && index.chunkRows === lane.chunkRows;
      if (fits && index.rowBytes === this.#features.rowBytes) return index;
      this.#problems.push(`${key}: it describes another lane; it is made again`);
    } catch (error) {
      if (!(error instanceof CodedError && error.code === "OBJECT_CORRUPT")) throw error;
      this.#problems.push(error.message);
    }
    await this.#store.delete(key);
    return undefined;
  }

  /** Stores bytes under a name that their content decides. What else lies there is damaged, and is replaced. */
  async #createExactly(key: string, body: Uint8Array): Promise<void> {
    if ((await this.#store.create(key, body)) === "created") return;
    const stored = await this.#store.read(key);
    if (stored === undefined || Buffer.compare(stored, body) !== 0) await this.#store.put(key, body);
  }
}

/** A lane whose rows can be read. */
export class OpenedLane {
  readonly rows: number;
  readonly chunkRows: number;
  readonly #store: ObjectStore;
  readonly #features: JobFeatures;
  readonly #lane: Lane;
  readonly #folder: string;
  readonly #index: LaneIndex;
  readonly #problems: string[];
  #damaged = false;

  constructor(store: ObjectStore, features: JobFeatures, lane: Lane, folder: string, index: LaneIndex, problems: string[]) {
    this.rows = index.rows;
    this.chunkRows = index.chunkRows;
    this.#store = store;
    this.#features = features;
    this.#lane = lane;
    this.#folder = folder;
    this.#index = index;
    this.#problems = problems;
  }

  /** Writes the features of chunk `chunk` to the beginning of `into`. Every byte is checked; what is damaged is read from the shards. */
  async readChunk(chunk: number, into: Uint8Array, signal: AbortSignal): Promise<LaneOutcome> {
    const pieces = this.#index.parts.flatMap((part) => {
      const piece = pieceOf(part, chunk);
      return piece === undefined ? [] : [{ part, piece }];
    });
    for (let at = 0; at < pieces.length; at += PIECES_AT_ONCE) {
      signal.throwIfAborted();
      const batch = pieces.slice(at, at + PIECES_AT_ONCE);
      const problems = await Promise.all(batch.map(({ part, piece }) => this.#readPiece(part, piece, into)));
      const problem = problems.find((each) => each !== undefined);
      if (problem !== undefined) return this.#readFromShards(chunk, problem, into, signal);
    }
    return { kind: "complete" };
  }

  /** Resolves the reason why the piece cannot be used, if so. */
  async #readPiece({ sha256, places }: LanePart, piece: LanePart["pieces"][number], into: Uint8Array): Promise<string | undefined> {
    const { rowBytes, chunkRows } = this.#index;
    const key = `${this.#folder}/${sha256}.rows`;
    const bytes = await this.#store.readRange(key, piece.from * rowBytes, piece.to * rowBytes);
    if (bytes === undefined) return `${key}: the object is gone`;
    if (sha256Hex(bytes) !== piece.sha256) return `${key}: rows ${piece.from} to ${piece.to} do not fit their digest`;
    for (let row = piece.from; row < piece.to; row++) {
      const from = (row - piece.from) * rowBytes;
      into.set(bytes.subarray(from, from + rowBytes), ((places[row] as number) - piece.chunk * chunkRows) * rowBytes);
    }
    return undefined;
  }

  async #readFromShards(chunk: number, problem: string, into: Uint8Array, signal: AbortSignal): Promise<LaneOutcome> {
    if (!this.#damaged) {
      this.#damaged = true;
      this.#problems.push(`${problem}; its rows are read from the shards, and the lane is made again by the next who opens it`);
      await this.#store.delete(`${this.#folder}/index.json`);
    }
    const { from, to } = laneChunk(this.rows, this.chunkRows, chunk);
    const ids = this.#lane.imageIds.subarray(from * IMAGE_ID_BYTES, to * IMAGE_ID_BYTES);
    const read = await this.#features.readRows(ids, this.#lane.view, signal);
    if (read.kind === "missing") return { kind: "missing", imageIds: read.imageIds };
    const { buffer, byteOffset, byteLength } = read.features;
    into.set(new Uint8Array(buffer, byteOffset, byteLength));
    return { kind: "complete" };
  }
}

/** What the part holds of a chunk; its pieces are in the order of their chunks. */
function pieceOf({ pieces }: LanePart, chunk: number): LanePart["pieces"][number] | undefined {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pieces[middle] as LanePart["pieces"][number]).chunk < chunk) low = middle + 1;
    else high = middle;
  }
  return pieces[low]?.chunk === chunk ? pieces[low] : undefined;
}

/** Rows of some lanes, numbered lane by lane in their order, grouped by the shard that holds each. */
interface RowsByShard {
  /** Numbers of the rows that have features, those of one shard behind each other. */
  readonly order: Uint32Array;
  /** Number of the shard of each of `order`, ascending. */
  readonly shards: Uint32Array;
  readonly laneOf: (row: number) => number;
  readonly placeOf: (row: number) => number;
  readonly missing: readonly ImageId[];
}

const NO_SHARD = 0xffffffff;

function rowsByShard(lanes: readonly Lane[], features: JobFeatures, view: number): RowsByShard {
  const lengths = lanes.map(({ imageIds }) => imageIds.length / IMAGE_ID_BYTES);
  const starts = lengths.map((_, lane) => lengths.slice(0, lane).reduce((sum, length) => sum + length, 0));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const shardOf = new Uint32Array(total);
  const numbers = new Map<string, number>();
  const missing: ImageId[] = [];
  let row = 0;
  for (const { imageIds } of lanes) {
    for (let at = 0; at < imageIds.length; at += IMAGE_ID_BYTES, row++) {
      const place = features.lookup(imageIds.subarray(at, at + IMAGE_ID_BYTES), view);
      if (place === undefined) {
        missing.push(imageIdAt(imageIds, at / IMAGE_ID_BYTES));
        shardOf[row] = NO_SHARD;
      } else shardOf[row] = numbers.get(place.shard) ?? numbers.set(place.shard, numbers.size).size - 1;
    }
  }
  // Rows without features come last, and are left out.
  const order = countingSort(
    shardOf.map((shard) => Math.min(shard, numbers.size)),
    numbers.size + 1,
  ).subarray(0, total - missing.length);
  const laneOf = (of: number): number => starts.findLastIndex((start, lane) => of >= start && (lengths[lane] as number) > 0);
  return {
    order,
    shards: order.map((each) => shardOf[each] as number),
    laneOf,
    placeOf: (of) => of - (starts[laneOf(of)] as number),
    missing,
  };
}

/** Positions of `values`, which are below `bound`, by value and then position. */
function countingSort(values: Uint32Array, bound: number): Uint32Array {
  const next = new Uint32Array(bound + 1);
  for (const value of values) next[value + 1]! += 1;
  for (let value = 0; value < bound; value++) next[value + 1]! += next[value] as number;
  const sorted = new Uint32Array(values.length);
  values.forEach((value, position) => (sorted[next[value]!++] = position));
  return sorted;
}

/** Divides rows into runs of at most `rowsMax`, whole shards each where a shard is not more than that. */
function* runsOf(shards: Uint32Array, rowsMax: number): Generator<{ readonly from: number; readonly to: number }> {
  for (let from = 0, to = 0; from < shards.length; from = to) {
    to = Math.min(shards.length, from + rowsMax);
    if (to === shards.length) {
      yield { from, to };
      return;
    }
    let whole = to;
    while (whole > from && shards[whole] === shards[whole - 1]) whole--;
    if (whole > from) to = whole;
    yield { from, to };
  }
}

/** Image ids of the rows of a run. */
function gather(run: Uint32Array, rows: RowsByShard, lanes: readonly Lane[]): Uint8Array {
  const ids = new Uint8Array(run.length * IMAGE_ID_BYTES);
  run.forEach((row, at) => {
    const place = rows.placeOf(row) * IMAGE_ID_BYTES;
    const lane = lanes[rows.laneOf(row)];
    assert(lane !== undefined);
    ids.set(lane.imageIds.subarray(place, place + IMAGE_ID_BYTES), at * IMAGE_ID_BYTES);
  });
  return ids;
}
