import { retry, type RetryDeps, type RetryPolicy } from "../retry/retry.js";
import type { Bucket } from "./bucket.js";

/** A bucket whose passing failures are tried again; each page of a listing for itself. */
export function retryingBucket(bucket: Bucket, policy: RetryPolicy, deps: RetryDeps): Bucket {
  const again = <T>(operation: () => Promise<T>): Promise<T> => retry(policy, operation, deps);
  return {
    name: bucket.name,
    endpoint: bucket.endpoint,
    put: (key, body, ifAbsent) => again(() => bucket.put(key, body, ifAbsent)),
    get: (key, bytesMax) => again(() => bucket.get(key, bytesMax)),
    getIfMatch: (key, etag, bytes) => again(() => bucket.getIfMatch(key, etag, bytes)),
    getRange: (key, from, to) => again(() => bucket.getRange(key, from, to)),
    head: (key) => again(() => bucket.head(key)),
    list: (request) => again(() => bucket.list(request)),
    delete: (key) => again(() => bucket.delete(key)),
    urlOf: (key, seconds) => bucket.urlOf(key, seconds),
    clockAheadMs: () => bucket.clockAheadMs(),
  };
}
