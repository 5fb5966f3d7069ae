import assert from "node:assert";
import { createHash } from "node:crypto";
import { cosPi, exactLog, sinPi } from "./exact-math.js";

/**
 * Random numbers as pure functions of (seed, purpose, step, row): Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
 * Seed and purpose make the key; the counter is (block, row, step low, step high). No state outlives a stream, so a joined, left or resumed worker draws what any other would.
 */
export interface RandomKey {
  readonly low: number;
  readonly high: number;
}

/** The first 64 bits of SHA-256 over `graft random\nSEED\nPURPOSE`: different purposes of one seed are unrelated. `seed` is a safe integer. */
export function randomKey(seed: number, purpose: string): RandomKey {
  if (!Number.isSafeInteger(seed)) throw new RangeError(`a seed is a whole number within 2^53, got ${seed}`);
  const digest = createHash("sha256").update(`graft random\n${seed}\n${purpose}`).digest();
  return { low: digest.readUInt32LE(0), high: digest.readUInt32LE(4) };
}

/** High 32 bits of the 64-bit product of two unsigned 32-bit numbers, as a signed 32-bit number. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const carry = ((middle & 0xffff) + Math.imul(aLow, bHigh)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carry >>> 16)) | 0;
}

const M0 = 0xd2511f53 | 0;
const M1 = 0xcd9e8d57 | 0;

/** One block of Philox4x32-10: four 32-bit numbers into `out[at .. at + 3]`. */
export function philox(c0: number, c1: number, c2: number, c3: number, k0: number, k1: number, out: Uint32Array, at: number): void {
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(M0, c0);
    const high1 = multiplyHigh(M1, c2);
    const low0 = Math.imul(M0, c0);
    const low1 = Math.imul(M1, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/** The numbers of one (key, step, row), drawn one after another. */
export class RandomStream {
  readonly #key: RandomKey;
  readonly #block = new Uint32Array(4);
  #stepLow = 0;
  #stepHigh = 0;
  #row = 0;
  #nextBlock = 0;
  #used = 4;
  #spareNormal: number | undefined;

  constructor(key: RandomKey, step = 0, row = 0) {
    this.#key = key;
    this.seek(step, row);
  }

  /** Begins the numbers of another (step, row). `step` is a safe integer >= 0, `row` below 2^32. */
  seek(step: number, row: number): void {
    this.#stepLow = step >>> 0;
    this.#stepHigh = Math.floor(step / 4294967296);
    this.#row = row;
    this.#nextBlock = 0;
    this.#used = 4;
    this.#spareNormal = undefined;
  }

  /** Uniform over 0 … 2^32 - 1. */
  uint32(): number {
    if (this.#used === 4) {
      philox(this.#nextBlock, this.#row, this.#stepLow, this.#stepHigh, this.#key.low, this.#key.high, this.#block, 0);
      this.#nextBlock += 1;
      this.#used = 0;
    }
    return this.#block[this.#used++] as number;
  }

  /** As many calls of `uint32` as `into` is long, at a fresh (step, row); its length is a multiple of 4. */
  fill(into: Uint32Array): void {
    assert(this.#used === 4 && into.length % 4 === 0, "fill draws whole blocks");
    for (let at = 0; at < into.length; at += 4) {
      philox(this.#nextBlock, this.#row, this.#stepLow, this.#stepHigh, this.#key.low, this.#key.high, into, at);
      this.#nextBlock += 1;
    }
  }

  /** Uniform over multiples of 2^-24 in [0, 1): exact as a float32. */
  uniform(): number {
    return (this.uint32() >>> 8) * 5.9604644775390625e-8;
  }

  /** Uniform over 0 … bound - 1 without bias, bound from 1 to 2^32 - 1 (Lemire: "Fast random integer generation in an interval", 2019). */
  below(bound: number): number {
    let x = this.uint32();
    let low = Math.imul(x, bound) >>> 0;
    if (low < bound) {
      const rejectBelow = (4294967296 - bound) % bound;
      while (low < rejectBelow) {
        x = this.uint32();
        low = Math.imul(x, bound) >>> 0;
      }
    }
    return multiplyHigh(x, bound) >>> 0;
  }

  /** Standard normal number (Box and Muller) in float64; never beyond 6.7 deviations. */
  normal(): number {
    if (this.#spareNormal !== undefined) {
      const spare = this.#spareNormal;
      this.#spareNormal = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * exactLog((this.uint32() + 1) * 2.3283064365386963e-10));
    const angle = this.uint32() * 4.656612873077393e-10;
    this.#spareNormal = radius * sinPi(angle);
    return radius * cosPi(angle);
  }

  /** Standard normal number, drawn again while beyond two deviations. */
  truncatedNormal(): number {
    let value = this.normal();
    while (value < -2 || value > 2) value = this.normal();
    return value;
  }
}

/** A permutation of 0 … n - 1 (Fisher and Yates), from the numbers of `stream`; `into` has n elements and is overwritten. */
export function permutation(stream: RandomStream, into: Uint32Array): Uint32Array {
  for (let i = 0; i < into.length; i++) into[i] = i;
  for (let i = into.length - 1; i > 0; i--) {
    const j = stream.below(i + 1);
    const moved = into[i] as number;
    into[i] = into[j] as number;
    into[j] = moved;
  }
  return into;
}
