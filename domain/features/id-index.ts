import assert from "node:assert";

import { IMAGE_ID_BYTES as ID_BYTES } from "./image-ids.js";

/** Slots are at most this full, so that a search stays short. */
const LOAD_MAX = 0.7;
const FREE = 0xffffffff;
/** One for each value of a byte. */
const PARTS = 256;

/**
 * Image ids and where each one's feature lies: a shard's number and a row in it. One map holds one view.
 *
 * An entry is its 32 bytes of id, 4 of shard and 2 of row in growing typed arrays; a table of open addressing (linear steps) points at the entries by the first
 * four bytes of the id, which a SHA-256 spreads evenly. 1 million ids take 38 MB and a table of 8 MB.
 * Large ones are in parts by the last byte of the id, so that none takes long to grow: the pause of one with 10 million ids would be a second.
 */
export class IdIndex {
  readonly #parts: (IndexPart | undefined)[] = [];

  get size(): number {
    return this.#parts.reduce((size, part) => size + (part?.size ?? 0), 0);
  }

  /** Bytes of memory that the arrays take. */
  get bytes(): number {
    return this.#parts.reduce((bytes, part) => bytes + (part?.bytes ?? 0), 0);
  }

  /** Puts or replaces the place of the id at `ids[at .. at + 31]`; `row` is below 65,536. */
  set(ids: Uint8Array, at: number, shard: number, row: number): void {
    assert(at + ID_BYTES <= ids.length && row < 65_536 && shard < FREE);
    const number = ids[at + ID_BYTES - 1] as number;
    (this.#parts[number] ??= new IndexPart()).set(ids, at, shard, row);
  }

  /** The entry of the id at `ids[at .. at + 31]`, -1 where there is none. Entries never move. */
  find(ids: Uint8Array, at = 0): number {
    assert(at + ID_BYTES <= ids.length);
    const number = ids[at + ID_BYTES - 1] as number;
    const entry = this.#parts[number]?.find(ids, at) ?? -1;
    return entry < 0 ? -1 : entry * PARTS + number;
  }

  shardOf(entry: number): number {
    return this.#parts[entry % PARTS]?.shardOf(Math.floor(entry / PARTS)) as number;
  }

  rowOf(entry: number): number {
    return this.#parts[entry % PARTS]?.rowOf(Math.floor(entry / PARTS)) as number;
  }
}

class IndexPart {
  #ids = new Uint8Array(4 * ID_BYTES);
  #shards = new Uint32Array(4);
  #rows = new Uint16Array(4);
  #slots = new Uint32Array(8).fill(FREE);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#ids.byteLength + this.#shards.byteLength + this.#rows.byteLength + this.#slots.byteLength;
  }

  set(ids: Uint8Array, at: number, shard: number, row: number): void {
    const slot = this.#slotOf(ids, at);
    let entry = this.#slots[slot] as number;
    if (entry === FREE) {
      entry = this.#append(ids, at);
      this.#slots[slot] = entry;
    }
    this.#shards[entry] = shard;
    this.#rows[entry] = row;
    if (this.#size > this.#slots.length * LOAD_MAX) this.#widen();
  }

  find(ids: Uint8Array, at: number): number {
    const entry = this.#slots[this.#slotOf(ids, at)] as number;
    return entry === FREE ? -1 : entry;
  }

  shardOf(entry: number): number {
    return this.#shards[entry] as number;
  }

  rowOf(entry: number): number {
    return this.#rows[entry] as number;
  }

  /** The slot that holds this id, or the free one where it belongs. */
  #slotOf(ids: Uint8Array, at: number): number {
    const mask = this.#slots.length - 1;
    let slot = hashOf(ids, at) & mask;
    for (;;) {
      const entry = this.#slots[slot] as number;
      if (entry === FREE || this.#isAt(entry, ids, at)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isAt(entry: number, ids: Uint8Array, at: number): boolean {
    const base = entry * ID_BYTES;
    for (let index = 0; index < ID_BYTES; index++) if (this.#ids[base + index] !== ids[at + index]) return false;
    return true;
  }

  #append(ids: Uint8Array, at: number): number {
    if (this.#size === this.#shards.length) {
      // By a quarter: a copy now and then costs less than half of the memory standing empty.
      const capacity = Math.ceil(this.#size * 1.25);
      this.#ids = grown(this.#ids, capacity * ID_BYTES);
      this.#shards = grown(this.#shards, capacity);
      this.#rows = grown(this.#rows, capacity);
    }
    this.#ids.set(ids.subarray(at, at + ID_BYTES), this.#size * ID_BYTES);
    return this.#size++;
  }

  #widen(): void {
    const slots = new Uint32Array(this.#slots.length * 2).fill(FREE);
    const mask = slots.length - 1;
    for (let entry = 0; entry < this.#size; entry++) {
      let slot = hashOf(this.#ids, entry * ID_BYTES) & mask;
      while (slots[slot] !== FREE) slot = (slot + 1) & mask;
      slots[slot] = entry;
    }
    this.#slots = slots;
  }
}

function hashOf(ids: Uint8Array, at: number): number {
  return (ids[at] as number) | ((ids[at + 1] as number) << 8) | ((ids[at + 2] as number) << 16) | ((ids[at + 3] as number) << 24);
}

function grown<T extends Uint8Array | Uint16Array | Uint32Array>(array: T, length: number): T {
  const larger = new (array.constructor as new (length: number) => T)(length);
  larger.set(array);
  return larger;
}
