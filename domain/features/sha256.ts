import { createHash } from "node:crypto";

/** SHA-256 as 64 lower-case hex digits: what names a shard, a picture, a backbone. A text counts as its UTF-8 bytes. */
export function sha256Hex(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex");
}

export function isSha256Hex(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{64}$/.test(text);
}
