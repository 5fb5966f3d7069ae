/** How an S3-compatible store is reached. */
export interface S3Access {
  /** `http://HOST:PORT` or `https://HOST`. */
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Default: us-east-1, which servers without regions answer to. */
  readonly region?: string;
  /** Certificates (PEM) to trust instead of those of the system. */
  readonly ca?: string;
  /** A call that has got no answer after this has failed; bodies have more time by their length. Default: limits.storeDeadlineMs. */
  readonly deadlineMs?: number;
}

export interface ObjectHead {
  readonly bytes: number;
  readonly modifiedMs: number;
  readonly etag: string;
  /** Of the body, where graft wrote the object. */
  readonly sha256: string | undefined;
}

export interface BucketObject extends ObjectHead {
  readonly body: Uint8Array;
}

/** One answer to a listing, in the order of the keys' bytes. */
export interface BucketPage {
  readonly objects: readonly { readonly key: string; readonly bytes: number; readonly etag: string; readonly modifiedMs: number }[];
  /** With a delimiter: what keys begin with up to and including it. */
  readonly prefixes: readonly string[];
  /** Where the next page goes on; undefined on the last one. */
  readonly next: string | undefined;
}

/**
 * The objects of one bucket, as an S3-compatible server keeps them; what object store and dataset source are made of.
 * Every call has a deadline, none is repeated. @throws CodedError STORE_UNAVAILABLE (passes), STORE_FULL, STORE_NOT_FOUND (no such bucket), ACCESS_DENIED (keys, rights or clock)
 */
export interface Bucket {
  readonly name: string;
  readonly endpoint: string;
  /** One PUT, whatever the size, with the SHA-256 of the body as metadata. "exists": with `ifAbsent` where the key is taken. */
  put(key: string, body: Uint8Array, ifAbsent: boolean): Promise<"stored" | "exists">;
  /** Undefined if the key is free. Length and digest of what came are those of what was written. @throws CodedError STORE_UNAVAILABLE where they are not, with `wrongBody`, the SHA-256 of what came, in its details */
  get(key: string, bytesMax?: number): Promise<BucketObject | undefined>;
  /** As `get`, only while the object has this ETag, and so this length. */
  getIfMatch(key: string, etag: string, bytes: number): Promise<BucketObject | "changed" | undefined>;
  /** Bytes `from` up to, not including, `to`; what lies beyond the end is left out. Their digest is not known, their number is checked. */
  getRange(key: string, from: number, to: number): Promise<Uint8Array | undefined>;
  head(key: string): Promise<ObjectHead | undefined>;
  /** Keys that begin with `prefix`: from `after` on (not included), or from where the page before ended. With `byFolder` keys with a further slash are given as prefixes. */
  list(request: {
    readonly prefix: string;
    readonly after?: string;
    readonly next?: string;
    readonly byFolder?: boolean;
  }): Promise<BucketPage>;
  delete(key: string): Promise<void>;
  /** An address that gives the object to whoever has it, for so long. */
  urlOf(key: string, seconds: number): Promise<string>;
  /** By how much the server's clock is ahead of this machine's, from its last answer; to the second. */
  clockAheadMs(): number | undefined;
}

/** Where objects lie: `s3://bucket/prefix`. */
export interface S3Location {
  readonly bucket: string;
  /** Without slashes at its ends; "" for the whole bucket. */
  readonly prefix: string;
}

export function isS3Location(location: string): boolean {
  return location.startsWith("s3://");
}

/** Undefined where this is no bucket with a prefix. */
export function parseS3Location(location: string): S3Location | undefined {
  const found = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/s.exec(location);
  if (found === null) return undefined;
  const prefix = (found[2] ?? "").replace(/^\/+|\/+$/g, "");
  return prefix.split("/").some((segment) => segment === "." || segment === "..") || prefix.includes("//")
    ? undefined
    : { bucket: found[1] ?? "", prefix };
}
