import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { CommitRecord } from "../../domain/job/records.js";
import { decodeListing, encodeListing, type ListingRow } from "../../formats/listing/listing.js";
import { decodeSamples, encodeSamples, type Samples } from "../../formats/listing/samples.js";
import type { ObjectStore } from "../object-store/object-store.js";

/** Where the specs and statuses of jobs stand: in the object store (object-store.ts), on Kubernetes in the GraftJob resources. */
export interface JobStore {
  /** Records a job; "exists" leaves the one that stands there as it is. */
  create(jobId: string, spec: unknown): Promise<"created" | "exists">;
  readSpec<T>(jobId: string, check: Check<T>): Promise<T | undefined>;
  /** The status is a projection of the job's facts and may be overwritten at any time. */
  writeStatus(jobId: string, status: unknown): Promise<void>;
  readStatus<T>(jobId: string, check: Check<T>): Promise<T | undefined>;
  /** Ids of all jobs, in the order of their bytes. */
  list(): AsyncIterable<string>;
}

/** Returns a parsed JSON value as what it should be, or throws an Error that says what is wrong with it. */
export type Check<T> = (value: unknown) => T;

/** What a create-if-absent left behind: `value` is what stands in the store, whoever wrote it. */
export interface Created<T> {
  readonly outcome: "created" | "exists";
  readonly value: T;
}

const DELETES_AT_ONCE = 16;

/** The objects of one job, `jobs/<id>/…`. Facts are written once; of several writers the first one's stands and the others get it back. */
export class JobObjects {
  readonly jobId: string;
  readonly #store: ObjectStore;

  constructor(store: ObjectStore, jobId: string) {
    this.#store = store;
    this.jobId = jobId;
  }

  /** The key of the job's object `name`, e.g. for messages. */
  keyOf(name: string): string {
    return `jobs/${this.jobId}/${name}`;
  }

  /** Puts aside what training starts from, under the SHA-256 of its bytes: later the file that the user named may be another. */
  async writeInitialWeights(bytes: Uint8Array): Promise<string> {
    const sha256 = sha256Hex(bytes);
    await this.#store.create(this.keyOf(`initial-weights/${sha256}.safetensors`), bytes);
    return sha256;
  }

  /** @throws CodedError OBJECT_MISSING, OBJECT_CORRUPT */
  async readInitialWeights(sha256: string): Promise<Uint8Array> {
    const key = this.keyOf(`initial-weights/${sha256}.safetensors`);
    const bytes = await this.#store.read(key);
    if (bytes === undefined)
      throw new CodedError("OBJECT_MISSING", `${key}: the weights that training starts from are gone; run the job anew`);
    if (sha256Hex(bytes) !== sha256)
      throw new CodedError("OBJECT_CORRUPT", `${key}: the bytes do not fit their name; delete it and run the job anew`);
    return bytes;
  }

  /** @throws CodedError OBJECT_CORRUPT naming the object where it is no JSON or `check` refuses it */
  async readJson<T>(name: string, check: Check<T>): Promise<T | undefined> {
    const body = await this.#store.read(this.keyOf(name));
    return body && decodeJson(body, `${this.#store.location}: ${this.keyOf(name)}`, check);
  }

  /** Records a fact (`plan.json`, `generations/3.json`, `log/100.json`, …) as canonical JSON. */
  async createJson<T>(name: string, value: T, check: Check<T>): Promise<Created<T>> {
    for (;;) {
      const outcome = await this.#store.create(this.keyOf(name), encodeJson(value));
      if (outcome === "created") return { outcome, value };
      const stored = await this.readJson(name, check);
      // Freed between the two: whoever deleted it wants it written anew.
      if (stored !== undefined) return { outcome, value: stored };
    }
  }

  /** Overwrites a projection of facts. */
  async putJson(name: string, value: unknown): Promise<void> {
    await this.#store.put(this.keyOf(name), encodeJson(value));
  }

  /** The first commit of a task wins, whoever asks. */
  async commitTask(commit: CommitRecord, check: Check<CommitRecord>): Promise<Created<CommitRecord>> {
    return this.createJson(`commits/${commit.task}.json`, commit, check);
  }

  async readCommit(task: number, check: Check<CommitRecord>): Promise<CommitRecord | undefined> {
    return this.readJson(`commits/${task}.json`, check);
  }

  /** Numbers of the committed tasks, ascending. */
  async committedTasks(): Promise<number[]> {
    return this.numberedFacts("commits");
  }

  /** Numbers of the facts `<folder>/<n>.json`, ascending: log, generations, repairs. */
  async numberedFacts(folder: string): Promise<number[]> {
    return this.#numbersUnder(`${folder}/`, /^(\d+)\.json$/);
  }

  /** Writes part `part` of the listing and returns its bytes. It may be written anew until `listing/summary.json` stands: a scan that was cut off begins anew, perhaps on other files. */
  async writeListing(part: number, rows: readonly ListingRow[]): Promise<Uint8Array> {
    const body = encodeListing(rows);
    await this.#store.put(this.keyOf(`listing/${part}.arrow`), body);
    return body;
  }

  /** @throws CodedError OBJECT_MISSING, OBJECT_CORRUPT */
  async readListing(part: number): Promise<ListingRow[]> {
    return decodeListing(await this.#readPart(`listing/${part}.arrow`));
  }

  /** Writes part `part` of the sample table and returns its bytes; it may be written anew until `samples/summary.json` stands. */
  async writeSamples(part: number, samples: Samples): Promise<Uint8Array> {
    const body = encodeSamples(samples);
    await this.#store.put(this.keyOf(`samples/${part}.arrow`), body);
    return body;
  }

  /** @throws CodedError OBJECT_MISSING, OBJECT_CORRUPT */
  async readSamples(part: number): Promise<Samples> {
    return decodeSamples(await this.#readPart(`samples/${part}.arrow`));
  }

  /** The state after `step` steps. Every trainer has the same, so that it does not matter whose is stored. */
  async createCheckpoint(step: number, state: Uint8Array): Promise<"created" | "exists"> {
    return this.#store.create(this.#checkpointKey(step), state);
  }

  async readCheckpoint(step: number): Promise<Uint8Array | undefined> {
    return this.#store.read(this.#checkpointKey(step));
  }

  /** Steps whose state is stored, ascending. */
  async checkpointSteps(): Promise<number[]> {
    return this.#numbersUnder("checkpoints/", /^(\d+)\/state$/);
  }

  async deleteCheckpoint(step: number): Promise<void> {
    await this.#store.delete(this.#checkpointKey(step));
  }

  /** A file of the result, such as `tfjs/model.json`. It may be written again until the result is committed: an export that was cut off begins anew. */
  async putResult(file: string, body: Uint8Array): Promise<void> {
    await this.#store.put(this.keyOf(`result/${file}`), body);
  }

  async readResult(file: string): Promise<Uint8Array | undefined> {
    return this.#store.read(this.keyOf(`result/${file}`));
  }

  /** Length of a file of the result; undefined where there is none of that name, whatever the name is. */
  async resultFileBytes(file: string): Promise<number | undefined> {
    for await (const name of this.resultFiles()) if (name === file) return (await this.#store.stat(this.keyOf(`result/${file}`)))?.bytes;
    return undefined;
  }

  async readResultRange(file: string, from: number, to: number): Promise<Uint8Array | undefined> {
    return this.#store.readRange(this.keyOf(`result/${file}`), from, to);
  }

  /** Names of the result's files in the order of their bytes. */
  async *resultFiles(): AsyncGenerator<string> {
    const prefix = this.keyOf("result/");
    for await (const key of this.#store.list(prefix)) yield key.slice(prefix.length);
  }

  /** Deletes the job: all of it, or all but its record and its result. */
  async deleteAll({ exceptResult }: { readonly exceptResult: boolean }): Promise<void> {
    const prefix = this.keyOf("");
    const keys: string[] = [];
    for await (const key of this.#store.list(prefix)) {
      if (!exceptResult || !/^(spec|status|plan|result)\.json$|^result\//.test(key.slice(prefix.length))) keys.push(key);
    }
    for (let at = 0; at < keys.length; at += DELETES_AT_ONCE)
      await Promise.all(keys.slice(at, at + DELETES_AT_ONCE).map((key) => this.#store.delete(key)));
  }

  #checkpointKey(step: number): string {
    return this.keyOf(`checkpoints/${step}/state`);
  }

  async #readPart(name: string): Promise<Uint8Array> {
    const body = await this.#store.read(this.keyOf(name));
    if (body !== undefined) return body;
    throw new CodedError(
      "OBJECT_MISSING",
      `${this.#store.location}: ${this.keyOf(name)} is recorded but gone; restore the store, or run the job anew under another name`,
      { name },
    );
  }

  async #numbersUnder(folder: string, pattern: RegExp): Promise<number[]> {
    const prefix = this.keyOf(folder);
    const numbers: number[] = [];
    for await (const key of this.#store.list(prefix)) {
      const number = pattern.exec(key.slice(prefix.length))?.[1];
      if (number !== undefined) numbers.push(Number(number));
    }
    return numbers.sort((a, b) => a - b);
  }
}

/** Equal values have equal bytes. */
export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(canonicalJson(value));
}

/** @throws CodedError OBJECT_CORRUPT naming `where` */
export function decodeJson<T>(body: Uint8Array, where: string, check: Check<T>): T {
  try {
    return check(JSON.parse(Buffer.from(body).toString("utf8")));
  } catch (error) {
    if (error instanceof CodedError && error.code !== "OBJECT_CORRUPT") throw error;
    const problem = error instanceof Error ? error.message : String(error);
    throw new CodedError("OBJECT_CORRUPT", `${where} (${body.length} bytes) cannot be used: ${problem}`, { where }, error);
  }
}
