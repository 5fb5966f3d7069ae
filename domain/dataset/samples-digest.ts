import { createHash } from "node:crypto";

/**
 * SHA-256 over classes, image ids, labels and splits of a sample table: what of the dataset shapes the result. Where pictures lie is no part of it.
 * First all ids, then all labels, then all splits are added, in as many pieces as their owner likes.
 */
export class SamplesDigest {
  readonly #hash = createHash("sha256");

  constructor(classes: readonly string[], rows: number) {
    this.#hash.update(`${JSON.stringify(classes)}\n${String(rows)}\n`);
  }

  add(values: Uint8Array | Int32Array): void {
    this.#hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  hex(): string {
    return this.#hash.digest("hex");
  }
}
