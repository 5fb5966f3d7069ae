import { addAlongTree } from "../../domain/training/tree.js";

/** Adds the vectors of grains 0, 1, 2, … as they come, along the tree (domain/training/tree.ts); of 8 grains it holds at most 4 vectors. */
export class GrainSums {
  readonly #length: number;
  /** Sums of ever smaller sub-trees, and the place of the next grain: like the digits of a binary counter. */
  readonly #vectors: Float32Array[] = [];
  #depth = 0;
  #count = 0;

  constructor(length: number) {
    this.#length = length;
  }

  /** Begins anew; the sum of all grains will stand in `total`. */
  begin(total: Float32Array): void {
    this.#vectors[0] = total;
    this.#depth = 0;
    this.#count = 0;
  }

  /** Where the next grain's vector is to be written; it holds anything. */
  next(): Float32Array {
    return (this.#vectors[this.#depth] ??= new Float32Array(this.#length));
  }

  /** The vector that `next` gave is written. */
  add(): void {
    this.#depth++;
    this.#count++;
    for (let grains = 1; this.#count % (2 * grains) === 0; grains *= 2, this.#depth--) {
      const [left, right] = this.#vectors.slice(this.#depth - 2, this.#depth) as [Float32Array, Float32Array];
      const first = this.#count - 2 * grains;
      addAlongTree([
        { first, grains, values: left },
        { first: first + grains, grains, values: right },
      ]);
    }
  }
}
