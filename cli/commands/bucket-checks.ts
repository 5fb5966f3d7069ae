import { randomUUID } from "node:crypto";
import type { S3Access } from "../../platform/bucket/bucket.js";
import { tryGuarantees } from "../../platform/bucket/guarantees.js";
import { checkedLocation, openBucket } from "../../platform/object-store/open-store.js";
import { s3ObjectStore } from "../../platform/object-store/s3.js";
import type { Finding } from "./checks.js";

/** Tries on a bucket what graft relies on, with objects of its own that are deleted again. @throws CodedError where it cannot be reached or used at all */
export async function checkBucket(
  location: string,
  s3: S3Access | undefined,
): Promise<{ readonly store: Finding; readonly guarantees: (readonly [string, Finding])[] }> {
  const { bucket: name, prefix } = checkedLocation(location, "--store");
  const bucket = await openBucket(location, name, s3);
  // A newer format shows at the first reading.
  await s3ObjectStore(bucket, prefix).stat("doctor");
  const tried = await tryGuarantees(bucket, [prefix, `doctor-${randomUUID()}`].filter((part) => part !== "").join("/"));
  const remedy = "graft must not use this store: take an S3-compatible server that keeps this (MinIO and Amazon S3 do)";
  return {
    store: { detail: `${location} at ${bucket.endpoint}, reachable with these keys` },
    guarantees: tried.map(({ name: guarantee, holds, detail }) => [
      `store: ${guarantee}`,
      holds ? { detail } : { detail, remedy: guarantee === "clock" ? "set the clocks of both machines by NTP" : remedy },
    ]),
  };
}
