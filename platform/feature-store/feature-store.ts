import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { featureSpecDigest, type FeatureSpec, type ImageId } from "../../domain/features/feature-spec.js";
import { IdIndex } from "../../domain/features/id-index.js";
import { IMAGE_ID_BYTES, imageIdAt, imageIdBytes, imageIdCount } from "../../domain/features/image-ids.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { elementCount } from "../../domain/network/network.js";
import type { FeatureArray } from "../../domain/training/grains.js";
import { decodeIndexEntry, encodeIndexEntry, type IndexEntry } from "../../formats/feature-index/feature-index.js";
import type { ObjectStore } from "../object-store/object-store.js";
import { type ShardRows, ShardStore } from "../shard-store/shard-store.js";

export type { ShardRows } from "../shard-store/shard-store.js";

/** Shards that `readRows` holds at the same time, up to 32 MiB each. */
const SHARDS_IN_MEMORY = 2;
/** Index entries that are read at the same time once several in a row were there. */
const ENTRIES_AHEAD_MAX = 32;
/** Taking so many rows in is some two milliseconds of work, after which other work has its turn. */
const ROWS_A_TURN = 1_024;
/** An entry gets no more shards once it has this many rows. */
const ROWS_AN_ENTRY = 8_192;
/** Each failed attempt means that another process appended; more in a row than this is not contention but a fault. */
const APPEND_ATTEMPTS_MAX = 1_000;
/** Readings of rows whose shards keep being damaged and repaired meanwhile. */
const READ_ROUNDS_MAX = 10;

export interface RowPlace {
  /** SHA-256 of the shard. */
  readonly shard: string;
  readonly row: number;
}

export type RowsRead =
  /** `[ids, ...spec.shape]` in the order of the ids that were asked for. */
  | { readonly kind: "complete"; readonly features: FeatureArray }
  /** Ids whose features are not in the store (any more), each once, in the order asked for; they have to be extracted. `quarantined` says what was found. */
  | {
      readonly kind: "missing";
      readonly imageIds: readonly ImageId[];
      readonly quarantined: readonly { readonly shard: string; readonly reason: string }[];
    };

/** Row `row` of a shard goes to row `target` of what was asked for. */
interface WantedRow {
  readonly target: number;
  readonly row: number;
}

interface KnownShard extends Omit<CommittedShard, "imageIds"> {
  /** Number of the index entry that added it. */
  readonly entry: number;
  live: boolean;
}

/**
 * The features of one feature spec in an object store: what was extracted once and is never extracted again.
 *
 * features/<digest>/spec.json              the spec
 * features/<digest>/shards/<sha256>.arrow  features, named by their content, written before they are appended to the index
 * features/<digest>/thumbnails/<sha256>.arrow
 * features/<digest>/index/<n>.json         the log that says which shards count; n is consecutive, an entry is added by create-if-absent of the next n
 * features/<digest>/quarantine/<sha256>.arrow  shards that turned out to be damaged, kept for whoever wants to know why
 *
 * Any number of processes may write at the same time. This object knows the log up to the last `refresh`.
 */
export class FeatureStore {
  readonly spec: FeatureSpec;
  readonly digest: string;
  readonly #store: ObjectStore;
  readonly #folder: string;
  readonly #objects: ShardStore;
  readonly #shards: KnownShard[] = [];
  /** The live shard of each name, by its position in #shards. */
  readonly #liveShards = new Map<string, number>();
  readonly #views = new Map<number, IdIndex>();
  readonly #problems: string[] = [];
  #nextEntry = 0;
  /** Refreshes one after another: each sees what was appended before it was called. */
  #refreshing: Promise<void> = Promise.resolve();
  /** Shards for the next entry of this process, … */
  readonly #waiting: CommittedShard[] = [];
  /** … which is written after this … */
  #appending: Promise<void> = Promise.resolve();
  /** … by this. */
  #nextAppend: Promise<void> | undefined;

  /** Reads and writes nothing yet; `open` is what a job calls, this and `refresh` what a plan calls. */
  constructor(store: ObjectStore, spec: FeatureSpec) {
    this.#store = store;
    this.spec = spec;
    this.digest = featureSpecDigest(spec);
    this.#folder = `features/${this.digest}`;
    this.#objects = new ShardStore(store, spec, this.#folder);
  }

  /** Records the spec and reads the index. */
  static async open(store: ObjectStore, spec: FeatureSpec): Promise<FeatureStore> {
    const opened = new FeatureStore(store, spec);
    await opened.#objects.createExactly(`${opened.#folder}/spec.json`, Buffer.from(canonicalJson(spec)));
    await opened.refresh();
    return opened;
  }

  /** What was found damaged and passed over (index entries, thumbnails), one sentence each. It costs time, never a wrong result. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Reads what was appended to the index since the last time, by whomever. */
  refresh(): Promise<void> {
    const refreshed = this.#refreshing.then(() => this.#readNewEntries());
    this.#refreshing = refreshed.catch(() => undefined);
    return refreshed;
  }

  /** Where the feature of a picture lies; undefined if it has to be extracted. `imageId` is hex or 32 bytes. */
  lookup(imageId: ImageId | Uint8Array, view = 0): RowPlace | undefined {
    const bytes = typeof imageId === "string" ? imageIdBytes([imageId]) : imageId;
    const place = this.#placeOf(bytes, 0, view);
    return place && { shard: place.shard.sha256, row: place.row };
  }

  has(imageId: ImageId | Uint8Array, view = 0): boolean {
    const bytes = typeof imageId === "string" ? imageIdBytes([imageId]) : imageId;
    return this.#placeOf(bytes, 0, view) !== undefined;
  }

  /** Stores rows as a shard. Nothing refers to it until `append`. */
  writeShard(rows: ShardRows): Promise<CommittedShard> {
    return this.#objects.write(rows);
  }

  /**
   * Adds shards to the index; those that count already are passed over, so that it may be repeated.
   * @throws CodedError OBJECT_MISSING where a shard was not stored with its length
   */
  async append(shards: readonly CommittedShard[]): Promise<void> {
    await this.#objects.assertStored(shards);
    this.#waiting.push(...shards);
    // Who comes while an entry is being written shares the next one.
    this.#nextAppend ??= this.#appending.then(() => {
      this.#nextAppend = undefined;
      return this.#appendWaiting(this.#waiting.splice(0));
    });
    const appended = this.#nextAppend;
    this.#appending = appended.catch(() => undefined);
    return appended;
  }

  async #appendWaiting(shards: CommittedShard[]): Promise<void> {
    while (shards.length > 0) {
      let rows = 0;
      const next = shards.findIndex((shard) => (rows += shard.rows) >= ROWS_AN_ENTRY);
      const some = shards.splice(0, next < 0 ? shards.length : next + 1);
      await this.#appendEntry(() => {
        const fresh = some.filter(({ sha256 }) => !this.#liveShards.has(sha256));
        return fresh.length === 0 ? undefined : { formatVersion: 1, kind: "shards", shards: fresh };
      });
    }
  }

  /**
   * Features of many pictures (hex ids, or `[n, 32]` bytes), each shard read once. Digest and checksums of every shard are verified; a shard that is damaged or gone is
   * quarantined, and the ids that lose their features by it are reported.
   */
  async readRows(ids: readonly ImageId[] | Uint8Array, view = 0, signal?: AbortSignal): Promise<RowsRead> {
    const wanted = ids instanceof Uint8Array ? ids : imageIdBytes(ids);
    const count = imageIdCount(wanted);
    const values = count * elementCount(this.spec.shape);
    const features = this.spec.dtype === "uint8" ? new Uint8Array(values) : new Float32Array(values);
    const quarantined: { shard: string; reason: string }[] = [];
    let targets = Array.from({ length: count }, (_, target) => target);
    // Each further round follows a shard that was quarantined, here or by another process that may have stored the features again.
    for (let round = 0; round < READ_ROUNDS_MAX; round++) {
      const { wantedOf, absent } = this.#groupByShard(wanted, targets, view);
      const failed: number[] = [];
      await forEachAtOnce(SHARDS_IN_MEMORY, [...wantedOf], async ([known, rows]) => {
        signal?.throwIfAborted();
        const problem = await this.#copyRows(known, rows, wanted, features);
        if (problem === undefined) return;
        quarantined.push({ shard: known.sha256, reason: problem });
        for (const { target } of rows) failed.push(target);
        await this.#quarantine(known, problem);
      });
      if (failed.length > 0) {
        targets = [...absent, ...failed].sort((a, b) => a - b);
        continue;
      }
      if (absent.length === 0) return { kind: "complete", features };
      quarantined.sort((a, b) => (a.shard < b.shard ? -1 : 1));
      return { kind: "missing", imageIds: [...new Set(absent.map((target) => imageIdAt(wanted, target)))], quarantined };
    }
    throw new CodedError(
      "STORE_UNAVAILABLE",
      `${this.#folder}: shards were found damaged in ${READ_ROUNDS_MAX} readings in a row, each time after they were stored again; check the store's disk, then run again`,
    );
  }

  /** JPEGs of pictures by their ids; a picture without a (whole) thumbnail is absent. */
  async readThumbnails(ids: readonly ImageId[], view = 0): Promise<Map<ImageId, Uint8Array>> {
    const wanted = new Set(ids);
    const objects = new Set<string>();
    for (const id of wanted) {
      const thumbnails = this.#placeOf(imageIdBytes([id]), 0, view)?.shard.thumbnails;
      if (typeof thumbnails === "string") objects.add(thumbnails);
    }
    return this.#objects.readThumbnails(objects, wanted, this.#problems);
  }

  #entryKey(n: number): string {
    return `${this.#folder}/index/${n}.json`;
  }

  #placeOf(ids: Uint8Array, at: number, view: number): { readonly shard: KnownShard; readonly row: number } | undefined {
    const index = this.#views.get(view);
    const entry = index?.find(ids, at) ?? -1;
    if (index === undefined || entry < 0) return undefined;
    const shard = this.#shards[index.shardOf(entry)];
    return shard?.live === true ? { shard, row: index.rowOf(entry) } : undefined;
  }

  async #readNewEntries(): Promise<void> {
    for (let ahead = 1; ; ahead = Math.min(ahead * 2, ENTRIES_AHEAD_MAX)) {
      const first = this.#nextEntry;
      const bodies = await Promise.all(Array.from({ length: ahead }, (_, offset) => this.#store.read(this.#entryKey(first + offset))));
      for (const body of bodies) {
        if (body === undefined) return;
        await this.#apply(this.#decodeEntry(body), this.#nextEntry);
        this.#nextEntry += 1;
      }
    }
  }

  /** An entry that was written here, unless a refresh has read it meanwhile. */
  #takeIn(entry: IndexEntry, n: number): Promise<void> {
    const taken = this.#refreshing.then(async () => {
      if (this.#nextEntry !== n) return;
      await this.#apply(entry, n);
      this.#nextEntry += 1;
    });
    this.#refreshing = taken.catch(() => undefined);
    return taken;
  }

  #decodeEntry(body: Uint8Array): IndexEntry | undefined {
    try {
      return decodeIndexEntry(body, this.#entryKey(this.#nextEntry));
    } catch (error) {
      if (!(error instanceof CodedError && error.code === "OBJECT_CORRUPT")) throw error;
      this.#problems.push(`${error.message}; the entry is passed over, its features will be extracted again`);
      return undefined;
    }
  }

  /** One at a time, as `#refreshing` has it. */
  async #apply(entry: IndexEntry | undefined, n: number): Promise<void> {
    let rows = 0;
    if (entry?.kind === "quarantine") {
      const number = this.#liveShards.get(entry.shard);
      const known = number === undefined ? undefined : this.#shards[number];
      if (known !== undefined) known.live = false;
      this.#liveShards.delete(entry.shard);
    }
    for (const shard of entry?.kind === "shards" ? entry.shards : []) {
      if (this.#liveShards.has(shard.sha256)) continue;
      const { imageIds, ...known } = shard;
      const number = this.#shards.push({ ...known, entry: n, live: true }) - 1;
      this.#liveShards.set(shard.sha256, number);
      const index = this.#views.get(shard.view) ?? new IdIndex();
      this.#views.set(shard.view, index);
      const ids = Buffer.from(imageIds, "base64");
      for (let row = 0; row < shard.rows; row++) {
        // Two workers may have extracted one picture; the first shard that still counts is the one that is read.
        if (this.#placeOf(ids, row * IMAGE_ID_BYTES, shard.view) === undefined) index.set(ids, row * IMAGE_ID_BYTES, number, row);
      }
      rows += shard.rows;
      if (rows < ROWS_A_TURN) continue;
      rows = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Appends what `entry` makes of the newest index; undefined means that nothing is left to append. */
  async #appendEntry(entry: () => IndexEntry | undefined): Promise<void> {
    for (let attempt = 0; attempt < APPEND_ATTEMPTS_MAX; attempt++) {
      await this.#refreshing;
      const n = this.#nextEntry;
      const next = entry();
      if (next === undefined) return;
      // If this entry is free, what is known here is the newest there is.
      const created = await this.#store.create(this.#entryKey(n), encodeIndexEntry(next));
      if (created === "exists") await this.refresh();
      else return this.#takeIn(next, n);
    }
    throw new CodedError(
      "STORE_UNAVAILABLE",
      `${this.#folder}/index: ${APPEND_ATTEMPTS_MAX} attempts to append found the next entry taken; run again`,
    );
  }

  #groupByShard(
    wanted: Uint8Array,
    targets: readonly number[],
    view: number,
  ): { wantedOf: Map<KnownShard, WantedRow[]>; absent: number[] } {
    const wantedOf = new Map<KnownShard, WantedRow[]>();
    const absent: number[] = [];
    for (const target of targets) {
      const place = this.#placeOf(wanted, target * IMAGE_ID_BYTES, view);
      const rows = place && wantedOf.get(place.shard);
      if (place === undefined) absent.push(target);
      else if (rows === undefined) wantedOf.set(place.shard, [{ target, row: place.row }]);
      else rows.push({ target, row: place.row });
    }
    return { wantedOf, absent };
  }

  /** Copies rows of one shard to their targets; resolves the reason why it cannot be used, if so. */
  async #copyRows(known: KnownShard, rows: readonly WantedRow[], wanted: Uint8Array, features: FeatureArray): Promise<string | undefined> {
    const shard = await this.#objects.read(known);
    if (typeof shard === "string") return shard;
    const idAt = (ids: Uint8Array, row: number) => ids.subarray(row * IMAGE_ID_BYTES, (row + 1) * IMAGE_ID_BYTES);
    const wrong = rows.find(({ target, row }) => Buffer.compare(idAt(shard.imageIds, row), idAt(wanted, target)) !== 0);
    if (wrong !== undefined) return `row ${wrong.row} belongs to another picture than the index says`;
    const elements = elementCount(this.spec.shape);
    for (const { target, row } of rows) features.set(shard.features.subarray(row * elements, (row + 1) * elements), target * elements);
    return undefined;
  }

  /** Moves a damaged shard aside and says so in the index, unless someone did or has stored it again. */
  async #quarantine(known: KnownShard, reason: string): Promise<void> {
    await this.#objects.setAside(known.sha256);
    await this.#appendEntry(() => {
      const number = this.#liveShards.get(known.sha256);
      const counts = number !== undefined && this.#shards[number]?.entry === known.entry;
      return counts ? { formatVersion: 1, kind: "quarantine", shard: known.sha256, reason } : undefined;
    });
  }
}

/** Runs `work` for every item, at most `width` at the same time. After an error no further item is begun. */
async function forEachAtOnce<T>(width: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      await work(item).catch((error: unknown) => {
        next = items.length;
        throw error;
      });
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: width }, lane));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
