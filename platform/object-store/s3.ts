import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { Bucket } from "../bucket/bucket.js";
import { assertObjectKey, assertObjectPrefix } from "./object-key.js";
import type { ObjectStore } from "./object-store.js";
import { withFormatCheck } from "./store-format.js";

/** Wrong bodies that are remembered at the same time. */
const WRONG_BODIES_MAX = 1_000;

/**
 * Objects under `prefix` in a bucket of an S3-compatible server; `graft doctor --store` tries whether one has what this needs. A body is one PUT, with its SHA-256 as metadata, which every whole
 * read checks. A wrong body fails in passing, and as OBJECT_CORRUPT once the same one has come several times in a row. Nothing is repeated here: see retryingObjectStore.
 */
export function s3ObjectStore(bucket: Bucket, prefix: string): ObjectStore {
  return withFormatCheck(new S3ObjectStore(bucket, prefix));
}

class S3ObjectStore implements ObjectStore {
  readonly location: string;
  readonly #bucket: Bucket;
  /** "" or with a slash at its end. */
  readonly #prefix: string;
  readonly #wrongBodies = new Map<string, { readonly sha256: string; readonly times: number }>();

  constructor(bucket: Bucket, prefix: string) {
    this.#bucket = bucket;
    this.#prefix = prefix === "" ? "" : `${prefix}/`;
    this.location = `s3://${bucket.name}${prefix === "" ? "" : `/${prefix}`}`;
  }

  async create(key: string, body: Uint8Array): Promise<"created" | "exists"> {
    return (await this.#bucket.put(this.#nameOf(key), body, true)) === "stored" ? "created" : "exists";
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    await this.#bucket.put(this.#nameOf(key), body, false);
  }

  async read(key: string): Promise<Uint8Array | undefined> {
    const name = this.#nameOf(key);
    try {
      const found = await this.#bucket.get(name);
      this.#wrongBodies.delete(key);
      return found?.body;
    } catch (error) {
      throw error instanceof CodedError && typeof error.details["wrongBody"] === "string"
        ? this.#wrongBody(key, error.details["wrongBody"], error)
        : error;
    }
  }

  async readRange(key: string, from: number, to: number): Promise<Uint8Array | undefined> {
    return this.#bucket.getRange(this.#nameOf(key), from, to);
  }

  async stat(key: string): Promise<{ readonly bytes: number; readonly modifiedMs: number } | undefined> {
    const found = await this.#bucket.head(this.#nameOf(key));
    return found && { bytes: found.bytes, modifiedMs: found.modifiedMs };
  }

  async *list(prefix: string): AsyncGenerator<string> {
    assertObjectPrefix(prefix);
    const whole = this.#prefix + prefix;
    let page = await this.#bucket.list({ prefix: whole });
    for (;;) {
      // The next page is under way while this one is used.
      const following = page.next === undefined ? undefined : this.#bucket.list({ prefix: whole, next: page.next });
      following?.catch(() => undefined);
      for (const { key } of page.objects) yield key.slice(this.#prefix.length);
      if (following === undefined) return;
      page = await following;
    }
  }

  async delete(key: string): Promise<void> {
    await this.#bucket.delete(this.#nameOf(key));
  }

  async urlOf(key: string, seconds: number): Promise<string> {
    return this.#bucket.urlOf(this.#nameOf(key), seconds);
  }

  #nameOf(key: string): string {
    assertObjectKey(key);
    return this.#prefix + key;
  }

  #wrongBody(key: string, sha256: string, error: CodedError): CodedError {
    const known = this.#wrongBodies.get(key);
    const times = known?.sha256 === sha256 ? known.times + 1 : 1;
    this.#wrongBodies.delete(key);
    if (times >= limits.storeWrongBodies)
      return new CodedError(
        "OBJECT_CORRUPT",
        `${this.location}/${key}: ${times} readings in a row gave the same bytes (SHA-256 ${sha256}), which are not those that were written; restore the object, or delete it if it can be made again`,
        { key, found: sha256 },
        error,
      );
    if (this.#wrongBodies.size >= WRONG_BODIES_MAX) this.#wrongBodies.delete(this.#wrongBodies.keys().next().value ?? "");
    this.#wrongBodies.set(key, { sha256, times });
    return error;
  }
}
