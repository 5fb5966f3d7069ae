import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { type Bucket, isS3Location, parseS3Location, type S3Access, type S3Location } from "../bucket/bucket.js";
import type { RetryDeps, RetryPolicy } from "../retry/retry.js";
import { filesystemObjectStore } from "./filesystem.js";
import type { ObjectStore } from "./object-store.js";
import { retryingObjectStore } from "./retrying.js";
import { s3ObjectStore } from "./s3.js";

/** For disks. */
export const diskRetries: RetryPolicy = {
  attemptsMax: limits.retryAttempts,
  firstDelayMs: limits.retryFirstDelayMs,
  totalMsMax: limits.retryTotalMs,
};

/** For servers, which may be starting again. */
export const serverRetries: RetryPolicy = {
  attemptsMax: limits.storeRetryAttempts,
  firstDelayMs: limits.retryFirstDelayMs,
  totalMsMax: limits.storeRetryTotalMs,
};

/**
 * The store at a folder or `s3://bucket/prefix`, with passing failures tried again. Contacts nobody yet.
 * @throws CodedError CONFIG_INVALID where a bucket is named without a way to reach it, or in another form
 */
export async function openObjectStore(location: string, s3: S3Access | undefined, retries: RetryDeps): Promise<ObjectStore> {
  if (!isS3Location(location)) return retryingObjectStore(filesystemObjectStore(location), diskRetries, retries);
  const { bucket, prefix } = checkedLocation(location, "store");
  return retryingObjectStore(s3ObjectStore(await openBucket(location, bucket, s3), prefix), serverRetries, retries);
}

/** @throws CodedError CONFIG_INVALID */
export function checkedLocation(location: string, what: string): S3Location {
  const parsed = parseS3Location(location);
  if (parsed !== undefined) return parsed;
  throw new CodedError("CONFIG_INVALID", `${what} ${JSON.stringify(location)}: expected s3://BUCKET or s3://BUCKET/PREFIX; correct it`);
}

/** @throws CodedError CONFIG_INVALID */
export async function openBucket(location: string, name: string, s3: S3Access | undefined): Promise<Bucket> {
  if (s3 === undefined)
    throw new CodedError(
      "CONFIG_INVALID",
      `${location}: expected the address and keys of the S3-compatible server, found none; set GRAFT_S3_ENDPOINT, GRAFT_S3_ACCESS_KEY and GRAFT_S3_SECRET_KEY`,
    );
  // Only who uses a bucket loads its client.
  const { connectBucket } = await import("../bucket/minio.js");
  return connectBucket(s3, name);
}
