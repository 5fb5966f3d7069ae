import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { ImageId } from "../../domain/features/feature-spec.js";
import type { ObjectStore } from "../object-store/object-store.js";

/** What is known of a picture while the file at its path is in `state`. */
export type KnownPicture =
  | { readonly kind: "image"; readonly state: string; readonly imageId: ImageId }
  /** Rejected for what its bytes are, as this decoder sees them. */
  | { readonly kind: "rejected"; readonly state: string; readonly decoder: string; readonly reason: string };

export type IdentityRow = KnownPicture & { readonly path: string };

const FORMAT_VERSION = 1;

/**
 * Remembers where a picture lay and what it was, so that a second run reads no bytes. It only saves time: an object that is corrupt or missing costs a reading.
 *
 * Objects are immutable: `identities/<sha256 of the directory's uri>/<sha256 of the content>.json`, one per `append`. Each carries a number one above the highest
 * that its writer knew; where two speak of the same path the higher number wins, so that a changed file does not fall back to its old state.
 */
export class IdentityStore {
  readonly #objects: ObjectStore;
  /** The highest number seen, by directory prefix. */
  readonly #highest = new Map<string, number>();

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  /** Everything known under a directory, by path. Rejections by another decoder than `decoder` are left out: it may think otherwise. */
  async load(directoryUri: string, decoder: string): Promise<KnownPictures> {
    const prefix = prefixOf(directoryUri);
    const known = new KnownPictures();
    const keys: string[] = [];
    for await (const key of this.#objects.list(prefix)) keys.push(key);
    for (const key of keys) {
      const content = await this.#objects.read(key);
      const batch = content && decodeBatch(content, key, directoryUri);
      if (batch === undefined) continue;
      this.#highest.set(prefix, Math.max(batch.number, this.#highest.get(prefix) ?? 0));
      for (const row of batch.rows) {
        if (row.kind === "image" || row.decoder === decoder) known.add(row, batch.number);
      }
    }
    return known;
  }

  /** Adds rows. Appending the same rows again does no harm. */
  async append(directoryUri: string, rows: readonly IdentityRow[]): Promise<void> {
    if (rows.length === 0) return;
    const prefix = prefixOf(directoryUri);
    const number = (this.#highest.get(prefix) ?? 0) + 1;
    this.#highest.set(prefix, number);
    const content = Buffer.from(
      JSON.stringify({ formatVersion: FORMAT_VERSION, directory: directoryUri, number, rows: rows.map(encodeRow) }),
    );
    await this.#objects.create(`${prefix}${sha256(content)}.json`, content);
  }
}

/** A map from path to what is known, compact: 100,000 pictures take some 25 MB. */
export class KnownPictures {
  readonly #rowOf = new Map<string, number>();
  readonly #states: string[] = [];
  /** As 32 Latin-1 characters, half of what hex digits take. */
  readonly #ids: string[] = [];
  readonly #numbers: number[] = [];
  readonly #rejections = new Map<number, { readonly decoder: string; readonly reason: string }>();

  get size(): number {
    return this.#rowOf.size;
  }

  /** What is known of the file at `path`, if it is still in `state`. */
  find(path: string, state: string): KnownPicture | undefined {
    const row = this.#rowOf.get(path);
    if (row === undefined || this.#states[row] !== state) return undefined;
    const rejection = this.#rejections.get(row);
    if (rejection !== undefined) return { kind: "rejected", state, ...rejection };
    return { kind: "image", state, imageId: Buffer.from(this.#ids[row] as string, "latin1").toString("hex") };
  }

  /** Takes a row unless one with a higher number is known for its path; of equal numbers the first stays. */
  add(row: IdentityRow, number: number): void {
    let index = this.#rowOf.get(row.path);
    if (index !== undefined && (this.#numbers[index] as number) >= number) return;
    index ??= this.#states.length;
    this.#rowOf.set(row.path, index);
    this.#states[index] = row.state;
    this.#numbers[index] = number;
    this.#ids[index] = row.kind === "image" ? Buffer.from(row.imageId, "hex").toString("latin1") : "";
    if (row.kind === "rejected") this.#rejections.set(index, { decoder: row.decoder, reason: row.reason });
    else this.#rejections.delete(index);
  }
}

function prefixOf(directoryUri: string): string {
  return `identities/${sha256(Buffer.from(directoryUri))}/`;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** `[path, state, imageId]` or `[path, state, null, decoder, reason]`. */
function encodeRow(row: IdentityRow): unknown[] {
  if (row.kind === "rejected") return [row.path, row.state, null, row.decoder, row.reason];
  assert.match(row.imageId, /^[0-9a-f]{64}$/, "an image id");
  return [row.path, row.state, row.imageId];
}

/** The rows of one object; undefined where its bytes are not what its name says or not of this format. */
function decodeBatch(
  content: Uint8Array,
  key: string,
  directoryUri: string,
): { readonly number: number; readonly rows: IdentityRow[] } | undefined {
  if (!key.endsWith(`/${sha256(content)}.json`)) return undefined;
  // The bytes are those that `append` wrote, so only version and directory are left to check.
  const batch = JSON.parse(Buffer.from(content).toString("utf8")) as {
    formatVersion: number;
    directory: string;
    number: number;
    rows: [string, string, string | null, string, string][];
  };
  if (batch.formatVersion !== FORMAT_VERSION || batch.directory !== directoryUri) return undefined;
  const rows = batch.rows.map(([path, state, imageId, decoder, reason]): IdentityRow =>
    imageId === null ? { kind: "rejected", path, state, decoder, reason } : { kind: "image", path, state, imageId },
  );
  return { number: batch.number, rows };
}
