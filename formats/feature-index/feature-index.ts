import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { isSha256Hex } from "../../domain/features/sha256.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";

/**
 * One entry of a feature index, `features/<digest>/index/<n>.json`. The index is a log: a shard counts from the entry that adds it to the one that
 * quarantines it, and may be added again after that (the same features have the same bytes and so the same name).
 */
export type IndexEntry =
  | { readonly formatVersion: 1; readonly kind: "shards"; readonly shards: readonly CommittedShard[] }
  | { readonly formatVersion: 1; readonly kind: "quarantine"; readonly shard: string; readonly reason: string };

export function encodeIndexEntry(entry: IndexEntry): Uint8Array {
  return Buffer.from(canonicalJson(entry));
}

/** @throws CodedError OBJECT_CORRUPT naming `key` and what is wrong, STORE_FORMAT_NEWER for a newer version */
export function decodeIndexEntry(bytes: Uint8Array, key: string): IndexEntry {
  const value = parse(bytes, key);
  if (typeof value["formatVersion"] === "number" && value["formatVersion"] > 1) {
    throw new CodedError(
      "STORE_FORMAT_NEWER",
      `${key} has version ${value["formatVersion"]}; this graft reads version 1. Use a newer graft`,
      { key },
    );
  }
  if (value["formatVersion"] !== 1) throw corrupt(key, "formatVersion is not 1");
  if (value["kind"] === "quarantine" && isSha256Hex(value["shard"]) && typeof value["reason"] === "string") {
    return { formatVersion: 1, kind: "quarantine", shard: value["shard"], reason: value["reason"] };
  }
  if (value["kind"] !== "shards" || !Array.isArray(value["shards"]))
    throw corrupt(key, "it is neither an entry of shards nor of a quarantine");
  return {
    formatVersion: 1,
    kind: "shards",
    shards: value["shards"].map((shard, position) => checkShard(shard, `${key}: shard ${position}`)),
  };
}

/** `where` names the shard in errors. @throws CodedError OBJECT_CORRUPT */
function checkShard(value: unknown, where: string): CommittedShard {
  const { sha256, bytes, view, rows, imageIds, thumbnails } = (value ?? {}) as Partial<Record<keyof CommittedShard, unknown>>;
  if (!isSha256Hex(sha256)) throw corrupt(where, "sha256 is not 64 hex digits");
  if (!isWhole(bytes, 1, Number.MAX_SAFE_INTEGER)) throw corrupt(where, "bytes is not a length");
  if (!isWhole(view, 0, 2 ** 31 - 1)) throw corrupt(where, "view is not a number of a view");
  if (!isWhole(rows, 1, limits.shardRows)) throw corrupt(where, `rows is not 1 to ${limits.shardRows}`);
  if (typeof imageIds !== "string" || Buffer.from(imageIds, "base64").length !== rows * IMAGE_ID_BYTES)
    throw corrupt(where, `imageIds does not hold ${rows} ids`);
  if (thumbnails !== null && !isSha256Hex(thumbnails)) throw corrupt(where, "thumbnails is neither null nor 64 hex digits");
  return { sha256, bytes, view, rows, imageIds, thumbnails };
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
}

function parse(bytes: Uint8Array, key: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw corrupt(key, "it is not JSON", error);
  }
  if (value === null || typeof value !== "object") throw corrupt(key, "it is not a JSON object");
  return value as Record<string, unknown>;
}

function corrupt(what: string, problem: string, cause?: unknown): CodedError {
  return new CodedError("OBJECT_CORRUPT", `${what}: ${problem}`, { what }, cause);
}
