import { CodedError } from "../../domain/errors.js";
import { backboneDigest, type Backbone } from "../../domain/network/backbone.js";
import { isSha256Hex, sha256Hex } from "../../domain/features/sha256.js";
import {
  backboneObjects,
  decodeBackbone,
  decodeOrigin,
  encodeBackbone,
  labelsObject,
  type BackboneFiles,
  type BackboneObject,
} from "../../formats/backbone/backbone.js";
import { asObject, parseJson } from "../../formats/json/json.js";
import type { ObjectStore } from "../object-store/object-store.js";

export interface StoredBackbone {
  readonly digest: string;
  readonly backbone: Backbone;
}

export interface BackboneSummary extends Pick<Backbone, "name" | "origin" | "licence"> {
  readonly digest: string;
}

/** Digits of a record's number in its key, so that the order of keys is that of numbers. */
const numberDigits = 6;

/** What a name means: a backbone, and the SHA-256 of its labels where it has some. */
interface NameRecord {
  readonly digest: string;
  readonly labels?: string | undefined;
}

/**
 * Backbones in an object store.
 *
 * backbones/<digest>/…                      the objects of one backbone, written once, each create-if-absent
 * backbones/<digest>/labels/<sha256>.txt    labels of its classifier; they are no part of the digest, so that one network may have several
 * backbones/names/<name>/<n>                a record {name, digest, labels}; the newest number is what the name means now, older ones stay reachable by digest
 *
 * The record is written last: a crash before it leaves objects that nothing names and that the next `add` takes over.
 */
export class BackboneStore {
  readonly #objects: ObjectStore;

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  /** Stores a backbone and makes its name mean it. The same content under another name is the same object; adding twice changes nothing. */
  async add(backbone: Backbone): Promise<{ readonly digest: string; readonly outcome: "created" | "exists" }> {
    const digest = backboneDigest(backbone);
    const encoded = encodeBackbone(backbone);
    // What is written must be what is read back; an importer's mistake shows here and not in the next run.
    if (decodeBackbone(encoded).digest !== digest) throw new Error(`backbone ${backbone.name}: its encoded form has another digest`);
    const labelsText = encoded[labelsObject];
    const labels = labelsText && sha256Hex(labelsText);
    if (labelsText && labels) await this.#objects.create(labelsKey(digest, labels), labelsText);
    let outcome: "created" | "exists" = "exists";
    for (const object of backboneObjects) outcome = await this.#objects.create(`backbones/${digest}/${object}`, encoded[object]);
    await this.#recordName(backbone.name, { digest, labels });
    return { digest, outcome };
  }

  /**
   * The backbone that a name means now, or the one of that name with a given digest, with the labels that it was last added with. Its content is
   * checked against the digest.
   * @throws CodedError BACKBONE_UNKNOWN naming those that are there, OBJECT_MISSING, OBJECT_CORRUPT, STORE_FORMAT_NEWER.
   */
  async find(name: string, digest?: string): Promise<StoredBackbone> {
    const records = await this.#records(name);
    const wanted = records.findLast((record) => digest === undefined || record.digest === digest);
    if (wanted === undefined) throw await this.#unknown(name, digest, [...new Set(records.map((record) => record.digest))]);
    return { digest: wanted.digest, backbone: { ...(await this.#read(name, wanted)), name } };
  }

  /** Whether a name means anything here. */
  async has(name: string): Promise<boolean> {
    return (await this.#records(name)).length > 0;
  }

  /** What every name means now, in the order of names. @throws CodedError OBJECT_MISSING, OBJECT_CORRUPT. */
  async list(): Promise<BackboneSummary[]> {
    const newest = new Map<string, string>();
    for await (const key of this.#objects.list("backbones/names/")) newest.set(key.split("/")[2] ?? "", key);
    const summaries: BackboneSummary[] = [];
    for (const [name, key] of newest) {
      const { digest } = await this.#recordAt(key);
      const { origin, licence } = await readable(`backbones/${digest}/origin.json`, async (at) => decodeOrigin(await this.#body(at)));
      summaries.push({ name, digest, origin, licence });
    }
    return summaries;
  }

  async #read(name: string, { digest, labels }: NameRecord): Promise<Backbone> {
    const bodies: Partial<Record<BackboneObject, Uint8Array>> = {};
    for (const object of backboneObjects) bodies[object] = await this.#body(`backbones/${digest}/${object}`);
    const labelsText = labels === undefined ? undefined : await this.#body(labelsKey(digest, labels));
    if (labelsText && sha256Hex(labelsText) !== labels)
      throw new CodedError(
        "OBJECT_CORRUPT",
        `${labelsKey(digest, labels ?? "")} (${name}) in ${this.#objects.location}: what is there has another SHA-256; delete it and add the backbone again`,
        { name },
      );
    const decoded = await readable(`backbones/${digest}/ (${name})`, async () =>
      decodeBackbone({ ...(bodies as BackboneFiles), ...(labelsText && { [labelsObject]: labelsText }) }),
    );
    if (decoded.digest !== digest) {
      throw new CodedError(
        "OBJECT_CORRUPT",
        `backbones/${digest}/ (${name}) in ${this.#objects.location}: the digest of what is there is ${decoded.digest}; delete these objects and add the backbone again`,
        { name, expected: digest, found: decoded.digest },
      );
    }
    return decoded.backbone;
  }

  /** Appends a record unless the newest one says the same. Of racing writers each gets a number of its own. */
  async #recordName(name: string, record: NameRecord): Promise<void> {
    const records = await this.#records(name);
    if (isSame(records.at(-1), record)) return;
    const body = new TextEncoder().encode(`${JSON.stringify({ name, ...record })}\n`);
    for (let number = records.length + 1; ; number++) {
      const outcome = await this.#objects.create(recordKey(name, number), body);
      if (outcome === "created" || isSame(await this.#recordAt(recordKey(name, number)), record)) return;
    }
  }

  /** What the name has meant, oldest first. */
  async #records(name: string): Promise<NameRecord[]> {
    if (!isName(name)) return [];
    const records: NameRecord[] = [];
    for await (const key of this.#objects.list(`backbones/names/${name}/`)) records.push(await this.#recordAt(key));
    return records;
  }

  async #recordAt(key: string): Promise<NameRecord> {
    const body = await this.#body(key);
    return readable(key, async () => {
      const root = asObject(parseJson(body, key), key);
      const digest = (field: string): string => {
        const value = root[field];
        if (isSha256Hex(value)) return value;
        const found = typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : typeof value;
        throw new CodedError("OBJECT_CORRUPT", `${key}: ${field} must have 64 hex digits, found ${found}`);
      };
      return { digest: digest("digest"), labels: root["labels"] === undefined ? undefined : digest("labels") };
    });
  }

  async #body(key: string): Promise<Uint8Array> {
    const body = await this.#objects.read(key);
    if (body === undefined)
      throw new CodedError("OBJECT_MISSING", `${key} is not in ${this.#objects.location}; add the backbone again`, { key });
    return body;
  }

  async #unknown(name: string, digest: string | undefined, digests: readonly string[]): Promise<CodedError> {
    const known = (await this.list()).map((summary) => summary.name);
    const asked =
      digest === undefined || digests.length === 0
        ? `backbone ${JSON.stringify(name)}`
        : `backbone ${JSON.stringify(name)} with digest ${digest}`;
    const there =
      digests.length > 0 ? `of that name there are ${digests.join(", ")}` : `there are ${known.length > 0 ? known.join(", ") : "none"}`;
    return new CodedError("BACKBONE_UNKNOWN", `${asked} is not in ${this.#objects.location}; ${there}; add it with "graft backbone add"`, {
      name,
      known,
    });
  }
}

function isSame(a: NameRecord | undefined, b: NameRecord): boolean {
  return a !== undefined && a.digest === b.digest && a.labels === b.labels;
}

function labelsKey(digest: string, labels: string): string {
  return `backbones/${digest}/labels/${labels}.txt`;
}

function recordKey(name: string, number: number): string {
  return `backbones/names/${name}/${String(number).padStart(numberDigits, "0")}.json`;
}

/** A name comes from users; only what `add` could have stored may become part of a key. */
function isName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(name);
}

/** Stored bytes that cannot be read are corrupt, whatever their reader says; a newer format is not. */
async function readable<T>(what: string, read: (what: string) => Promise<T>): Promise<T> {
  try {
    return await read(what);
  } catch (cause) {
    if (
      !(cause instanceof CodedError) ||
      ["STORE_FORMAT_NEWER", "OBJECT_MISSING", "OBJECT_CORRUPT", "STORE_UNAVAILABLE"].includes(cause.code)
    )
      throw cause;
    throw new CodedError("OBJECT_CORRUPT", `${what}: ${cause.message}; delete these objects and add the backbone again`, {}, cause);
  }
}
