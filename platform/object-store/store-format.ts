import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import type { ObjectStore } from "./object-store.js";

/** The object that says how everything else in a store is laid out. */
export const STORE_FORMAT_KEY = "graft-store.json";
const STORE_FORMAT_VERSION = 1;

/**
 * `store`, whose format is checked before the first operation and recorded before the first write. Reading creates nothing.
 * Operations throw CodedError STORE_FORMAT_NEWER where a newer graft made the store, OBJECT_CORRUPT where its format object cannot be understood.
 */
export function withFormatCheck(store: ObjectStore): ObjectStore {
  // Only success is remembered: a store that was unreachable may come back.
  let known = false;
  const beforeReading = async (): Promise<void> => {
    if (known) return;
    const body = await store.read(STORE_FORMAT_KEY);
    if (body === undefined) return;
    checkFormat(body, store.location);
    known = true;
  };
  const beforeWriting = async (): Promise<void> => {
    await beforeReading();
    if (known) return;
    await store.create(STORE_FORMAT_KEY, Buffer.from(canonicalJson({ formatVersion: STORE_FORMAT_VERSION })));
    // Another process may have been first, and newer.
    await beforeReading();
  };
  return {
    location: store.location,
    async create(key, body) {
      await beforeWriting();
      return store.create(key, body);
    },
    async put(key, body) {
      await beforeWriting();
      return store.put(key, body);
    },
    async read(key) {
      await beforeReading();
      return store.read(key);
    },
    async readRange(key, from, to) {
      await beforeReading();
      return store.readRange(key, from, to);
    },
    async stat(key) {
      await beforeReading();
      return store.stat(key);
    },
    async *list(prefix) {
      await beforeReading();
      yield* store.list(prefix);
    },
    async delete(key) {
      await beforeReading();
      return store.delete(key);
    },
    ...(store.urlOf && { urlOf: store.urlOf.bind(store) }),
  };
}

function checkFormat(body: Uint8Array, location: string): void {
  let version: unknown;
  try {
    version = (JSON.parse(Buffer.from(body).toString("utf8")) as { formatVersion?: unknown } | null)?.formatVersion;
  } catch {
    version = undefined;
  }
  if (typeof version !== "number" || !Number.isInteger(version) || version < 1) {
    throw new CodedError(
      "OBJECT_CORRUPT",
      `store ${location}: ${STORE_FORMAT_KEY} should hold {"formatVersion":${STORE_FORMAT_VERSION}}, found ${JSON.stringify(Buffer.from(body).toString("utf8").slice(0, 80))}; is this a graft store? Choose another one or restore the object`,
    );
  }
  if (version > STORE_FORMAT_VERSION) {
    throw new CodedError(
      "STORE_FORMAT_NEWER",
      `store ${location} has format ${version}; this graft reads up to format ${STORE_FORMAT_VERSION}. Use a newer graft or another store`,
      { found: version, known: STORE_FORMAT_VERSION },
    );
  }
}
