import assert from "node:assert";
import type { ImageId } from "./feature-spec.js";
import { isSha256Hex } from "./sha256.js";

export const IMAGE_ID_BYTES = 32;

/** `[n, 32]` bytes of ids given as hex, in their order. */
export function imageIdBytes(ids: readonly ImageId[]): Uint8Array {
  const bytes = new Uint8Array(ids.length * IMAGE_ID_BYTES);
  for (const [row, id] of ids.entries()) {
    assert(isSha256Hex(id), `image id ${JSON.stringify(id)} is not 64 hex digits`);
    bytes.set(Buffer.from(id, "hex"), row * IMAGE_ID_BYTES);
  }
  return bytes;
}

/** The hex form of row `row` of `[n, 32]` bytes. */
export function imageIdAt(bytes: Uint8Array, row: number): ImageId {
  assert((row + 1) * IMAGE_ID_BYTES <= bytes.length);
  return Buffer.from(bytes.buffer, bytes.byteOffset + row * IMAGE_ID_BYTES, IMAGE_ID_BYTES).toString("hex");
}

/** Ids in `[n, 32]` bytes. */
export function imageIdCount(bytes: Uint8Array): number {
  assert(bytes.length % IMAGE_ID_BYTES === 0, `${bytes.length} bytes of image ids`);
  return bytes.length / IMAGE_ID_BYTES;
}
