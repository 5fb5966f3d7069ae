import { checkedLocation, diskRetries, openBucket, serverRetries } from "../object-store/open-store.js";
import { isS3Location, type S3Access } from "../bucket/bucket.js";
import { retryingBucket } from "../bucket/retrying.js";
import type { RetryDeps } from "../retry/retry.js";
import type { OpenedDataset } from "./dataset-source.js";
import { openFilesystemDataset } from "./filesystem.js";
import { retryingDataset } from "./retrying.js";
import { openS3Dataset } from "./s3.js";
import { type Uploaded, uploadDataset, type UploadProgress } from "./upload.js";

/**
 * The dataset at a folder, a manifest or `s3://bucket/prefix`, with passing failures of reading tried again.
 * @throws CodedError DATASET_NOT_FOUND, DATASET_UNREADABLE, DATASET_INVALID, ACCESS_DENIED, CONFIG_INVALID
 */
export async function openDataset(location: string, s3: S3Access | undefined, retries: RetryDeps): Promise<OpenedDataset> {
  if (!isS3Location(location)) return retryingDataset(await openFilesystemDataset(location), diskRetries, retries);
  const parsed = checkedLocation(location, "dataset.source");
  const bucket = await openBucket(location, parsed.bucket, s3);
  return openS3Dataset(retryingBucket(bucket, serverRetries, retries), parsed);
}

/** Brings a local dataset to `s3://bucket/prefix`; what `graft submit --upload DIR` calls. @throws as uploadDataset, and CONFIG_INVALID */
export async function uploadTo(
  from: string,
  location: string,
  s3: S3Access | undefined,
  retries: RetryDeps,
  progress: (progress: UploadProgress) => void,
  signal?: AbortSignal,
): Promise<Uploaded> {
  const parsed = checkedLocation(location, "upload to");
  const bucket = retryingBucket(await openBucket(location, parsed.bucket, s3), serverRetries, retries);
  return uploadDataset(from, bucket, parsed, progress, signal);
}
