import { addInto } from "../../domain/training/tree.js";

/** sum += addend, element by element, in float32. */
export type AddInto = (sum: Float32Array, addend: Float32Array) => Promise<void> | void;

/** Adds the vectors of grains 0, 1, 2, … as they come, along the tree (domain/training/tree.ts); of 8 grains it holds at most 4 vectors. */
export class GrainSums {
  readonly #length: number;
  /** Sums of ever smaller sub-trees, and the place of the next grain: like the digits of a binary counter. */
  readonly #vectors: Float32Array[] = [];
  #depth = 0;
  #count = 0;
  readonly #addInto: AddInto;

  constructor(length: number, add: AddInto = addInto) {
    this.#length = length;
    this.#addInto = add;
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
  async add(): Promise<void> {
    this.#depth++;
    this.#count++;
    for (let grains = 1; this.#count % (2 * grains) === 0; grains *= 2, this.#depth--) {
      const [left, right] = this.#vectors.slice(this.#depth - 2, this.#depth) as [Float32Array, Float32Array];
      await this.#addInto(left, right);
    }
  }
}
