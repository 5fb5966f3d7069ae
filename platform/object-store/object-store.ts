/**
 * The durable truth of graft: objects under keys such as `features/ab12/shards/cd34.arrow`. Keys are `/`-separated segments of [A-Za-z0-9._-].
 * Every adapter passes test/conformance/object-store.ts.
 */
export interface ObjectStore {
  /** Where the objects lie, for messages: a folder or `s3://bucket/prefix`. */
  readonly location: string;
  /** Stores `body` durably if the key is free; "exists" leaves the stored object as it is. Of racing callers exactly one gets "created". A crash leaves the whole object or none. */
  create(key: string, body: Uint8Array): Promise<"created" | "exists">;
  /** Stores `body` durably whether or not the key is free. Only for projections that can be rebuilt (a job's status). */
  put(key: string, body: Uint8Array): Promise<void>;
  /** Resolves undefined if the key is free. A read after a finished write sees that write. */
  read(key: string): Promise<Uint8Array | undefined>;
  /** Bytes `from` up to, not including, `to` of an object; undefined if the key is free. What lies beyond its end is left out. */
  readRange(key: string, from: number, to: number): Promise<Uint8Array | undefined>;
  /** Length in bytes and time of writing, undefined if the key is free. */
  stat(key: string): Promise<{ readonly bytes: number; readonly modifiedMs: number } | undefined>;
  /** Keys that begin with `prefix`, in ascending order of their bytes. */
  list(prefix: string): AsyncIterable<string>;
  /** Frees the key; nothing happens if it is free. */
  delete(key: string): Promise<void>;
  /** An address from which whoever has it may read the object for so long. Absent where there is none: folders, memory. */
  urlOf?(key: string, seconds: number): Promise<string>;
}
