import { createHash } from "node:crypto";

/** SHA-256 over the parts of a listing, one after another. */
export class ListingDigest {
  readonly #hash = createHash("sha256");

  add(part: Uint8Array): void {
    this.#hash.update(`${String(part.length)}\n`).update(part);
  }

  hex(): string {
    return this.#hash.digest("hex");
  }
}
