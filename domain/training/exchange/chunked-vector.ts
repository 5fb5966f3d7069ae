import { bytesOf } from "./message.js";

/** "misfit": no such chunk, or another length than it must have. */
export type Taken = "taken" | "repeated" | "misfit";

/** A vector that arrives in chunks, in any order; repeated ones are ignored. An empty vector has one empty chunk. */
export class ChunkedVector {
  /** Where the chunks go; whole once `complete`. */
  readonly values: Float32Array;
  readonly #valuesPerChunk: number;
  readonly #arrived: Uint8Array;
  #missing: number;

  constructor(values: Float32Array, valuesPerChunk: number) {
    this.values = values;
    this.#valuesPerChunk = valuesPerChunk;
    this.#arrived = new Uint8Array(Math.max(1, Math.ceil(values.length / valuesPerChunk)));
    this.#missing = this.#arrived.length;
  }

  get chunks(): number {
    return this.#arrived.length;
  }

  get complete(): boolean {
    return this.#missing === 0;
  }

  has(chunk: number): boolean {
    return this.#arrived[chunk] === 1;
  }

  /** A view on the place of one chunk. */
  chunkValues(chunk: number): Float32Array {
    return this.values.subarray(chunk * this.#valuesPerChunk, (chunk + 1) * this.#valuesPerChunk);
  }

  take(chunk: number, bytes: Uint8Array): Taken {
    const from = chunk * this.#valuesPerChunk;
    const to = Math.min(this.values.length, from + this.#valuesPerChunk);
    if (chunk >= this.#arrived.length || bytes.length !== 4 * (to - from)) return "misfit";
    if (this.#arrived[chunk] === 1) return "repeated";
    bytesOf(this.values).set(bytes, 4 * from);
    this.mark(chunk);
    return "taken";
  }

  takeAll(values: Float32Array): void {
    this.values.set(values);
    this.#arrived.fill(1);
    this.#missing = 0;
  }

  /** A chunk that has been put into place already. */
  mark(chunk: number): void {
    this.#arrived[chunk] = 1;
    this.#missing -= 1;
  }

  /** Begins anew. */
  reset(): void {
    this.#arrived.fill(0);
    this.#missing = this.#arrived.length;
  }
}
