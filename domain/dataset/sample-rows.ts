import assert from "node:assert/strict";
import { IMAGE_ID_BYTES as ID_BYTES } from "../features/image-ids.js";
import { TextColumn } from "./text-column.js";
import { compareUtf8 } from "./utf8-order.js";

export const NOT_GIVEN = 255;

const ID_WORDS = ID_BYTES / Uint32Array.BYTES_PER_ELEMENT;
/** Rows are sorted by their first two bytes into so many buckets, then each bucket for itself. */
const BUCKETS = 65_536;
/** A bucket of more rows, all of one picture for example, is sorted by comparisons alone. */
const BUCKET_ROWS_MAX = 1_048_576;
/** What is done between two steps: some milliseconds. */
const ROWS_A_STEP = 65_536;

/** Rows of pictures in columns: 49 bytes a row and its uri, all of it outside of the garbage collector's heap. */
export class SampleRows {
  #ids: Buffer;
  /** The same bytes, for copying and comparing. */
  #words: Uint32Array;
  #labels: Int32Array;
  #given: Uint8Array;
  readonly #uris: TextColumn;

  /** `capacity`: as many rows are expected; more are taken too, which costs copying. */
  constructor(capacity: number) {
    // Zeroed memory that nobody has touched yet costs nothing.
    this.#words = new Uint32Array(capacity * ID_WORDS);
    this.#ids = Buffer.from(this.#words.buffer);
    this.#labels = new Int32Array(capacity);
    this.#given = new Uint8Array(capacity);
    this.#uris = new TextColumn(capacity);
  }

  get length(): number {
    return this.#uris.length;
  }

  /** Adds a row with the id at `ids[at .. at + 31]`; `given`: position in `splitNames`, or NOT_GIVEN. */
  push(ids: Uint8Array, at: number, label: number, given: number, uri: string): void {
    assert.ok(at + ID_BYTES <= ids.length, "an image id has 32 bytes");
    const row = this.length;
    if (row === this.#labels.length) this.#grow();
    const target = row * ID_BYTES;
    for (let index = 0; index < ID_BYTES; index++) this.#ids[target + index] = ids[at + index] as number;
    this.#labels[row] = label;
    this.#given[row] = given;
    this.#uris.push(uri);
  }

  /** `[rows.length, 32]` */
  idsOf(rows: Uint32Array): Uint8Array {
    const words = new Uint32Array(rows.length * ID_WORDS);
    for (let place = 0; place < rows.length; place++) {
      const from = (rows[place] as number) * ID_WORDS;
      for (let word = 0; word < ID_WORDS; word++) words[place * ID_WORDS + word] = this.#words[from + word] as number;
    }
    return new Uint8Array(words.buffer);
  }

  idHex(row: number): string {
    return this.#ids.toString("hex", row * ID_BYTES, (row + 1) * ID_BYTES);
  }

  label(row: number): number {
    return this.#labels[row] as number;
  }

  given(row: number): number {
    return this.#given[row] as number;
  }

  uri(row: number): string {
    return this.#uris.at(row);
  }

  hasSameId(a: number, b: number): boolean {
    for (let word = 0; word < ID_WORDS; word++) if (this.#words[a * ID_WORDS + word] !== this.#words[b * ID_WORDS + word]) return false;
    return true;
  }

  /** Row numbers by image id, then uri. Yields after some milliseconds of work, so that others can have their turn. */
  *order(): Generator<void, Uint32Array> {
    const size = this.length;
    const ids = this.#ids;

    // 1. How many rows begin with each pair of bytes, and where in the order those begin.
    const ends = new Uint32Array(BUCKETS);
    for (let row = 0; row < size; row++) {
      const bucket = ids.readUInt16BE(row * ID_BYTES);
      ends[bucket] = (ends[bucket] as number) + 1;
      if (row % ROWS_A_STEP === ROWS_A_STEP - 1) yield;
    }
    for (let bucket = 1; bucket < BUCKETS; bucket++) ends[bucket] = (ends[bucket] as number) + (ends[bucket - 1] as number);

    // 2. Rows into their buckets, from behind, so that in the end `ends` holds where each begins.
    const order = new Uint32Array(size);
    const begins = ends;
    for (let row = size - 1; row >= 0; row--) {
      const bucket = ids.readUInt16BE(row * ID_BYTES);
      const place = (begins[bucket] as number) - 1;
      begins[bucket] = place;
      order[place] = row;
      if (row % ROWS_A_STEP === 0) yield;
    }

    // 3. Each bucket for itself.
    let sorted = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const end = bucket + 1 < BUCKETS ? (begins[bucket + 1] as number) : size;
      const rows = order.subarray(begins[bucket], end);
      if (rows.length > 1) this.#sort(rows);
      sorted += rows.length;
      if (sorted < ROWS_A_STEP / 4) continue;
      sorted = 0;
      yield;
    }
    return order;
  }

  /** The next four bytes of the ids settle nearly every comparison: with the place in the bucket behind them they are whole numbers, which sort fast. */
  #sort(rows: Uint32Array): void {
    const compare = (a: number, b: number): number => this.#compareIds(a, b) || compareUtf8(this.uri(a), this.uri(b));
    if (rows.length > BUCKET_ROWS_MAX) {
      rows.sort(compare);
      return;
    }
    const keys = new Float64Array(rows.length);
    for (let place = 0; place < rows.length; place++)
      keys[place] = this.#ids.readUInt32BE((rows[place] as number) * ID_BYTES + 2) * BUCKET_ROWS_MAX + place;
    keys.sort();
    const unsorted = rows.slice();
    for (let start = 0, end = 0; start < keys.length; start = end) {
      const prefix = Math.floor((keys[start] as number) / BUCKET_ROWS_MAX);
      for (end = start; end < keys.length && Math.floor((keys[end] as number) / BUCKET_ROWS_MAX) === prefix; end++)
        rows[end] = unsorted[(keys[end] as number) % BUCKET_ROWS_MAX] as number;
      if (end - start > 1) rows.subarray(start, end).sort(compare);
    }
  }

  #compareIds(a: number, b: number): number {
    return this.#ids.compare(this.#ids, b * ID_BYTES, (b + 1) * ID_BYTES, a * ID_BYTES, (a + 1) * ID_BYTES);
  }

  #grow(): void {
    const capacity = Math.max(1_024, this.#labels.length * 2);
    const words = new Uint32Array(capacity * ID_WORDS);
    words.set(this.#words);
    const labels = new Int32Array(capacity);
    labels.set(this.#labels);
    const given = new Uint8Array(capacity);
    given.set(this.#given);
    [this.#words, this.#ids, this.#labels, this.#given] = [words, Buffer.from(words.buffer), labels, given];
  }
}
