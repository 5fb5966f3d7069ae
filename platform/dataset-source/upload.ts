import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { compareUtf8 } from "../../domain/dataset/utf8-order.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { limits } from "../../domain/limits.js";
import type { Bucket, S3Location } from "../bucket/bucket.js";
import type { DatasetSource, ListedFile } from "./dataset-source.js";
import { openFilesystemDataset } from "./filesystem.js";
import { type BucketEntry, listInParallel } from "./list-bucket.js";

/** Files that are read and sent at the same time: enough to hide the way to the server, few enough for 64 MiB each. */
const FILES_AT_ONCE = 16;

export interface UploadProgress {
  /** Files that are there now. */
  readonly files: number;
  /** Those of them that were there before, with the same content. */
  readonly skipped: number;
  /** Bytes that were sent. */
  readonly bytes: number;
}

/** What a job's `dataset.source` is after an upload, with how much was done. */
export interface Uploaded extends UploadProgress {
  readonly source: string;
}

/**
 * Brings a folder (or a manifest with the folder that it lies in) to a prefix of a bucket. What is there with the same length and MD5 is not sent again, so that it can be repeated after an interruption;
 * what else lies under the prefix stays. Symbolic links are sent as what they lead to.
 * @throws CodedError DATASET_NOT_FOUND, DATASET_INVALID, DATASET_UNREADABLE, DATASET_CHANGED, and those of the bucket
 */
export async function uploadDataset(
  from: string,
  bucket: Bucket,
  { prefix }: S3Location,
  progress: (progress: UploadProgress) => void,
  signal?: AbortSignal,
): Promise<Uploaded> {
  const { source, manifest } = await openFilesystemDataset(from);
  const folder = prefix === "" ? "" : `${prefix}/`;
  const done = { files: 0, skipped: 0, bytes: 0 };
  const send = async (file: ListedFile, there: BucketEntry | undefined): Promise<void> => {
    signal?.throwIfAborted();
    const body = file.path === manifest?.name ? manifest.bytes : await readFileOf(source, file);
    if (there !== undefined && (await isSame(bucket, there, body))) done.skipped++;
    else {
      await bucket.put(folder + file.path, body, false);
      done.bytes += body.length;
    }
    done.files++;
    progress({ ...done });
  };

  // Folder and bucket are listed in the same order, so that one pass joins them.
  const present = listInParallel(bucket, folder);
  const sending = new Set<Promise<void>>();
  try {
    let next = await present.next();
    for await (const file of source.list()) {
      if (file.path.endsWith("/")) continue;
      const key = folder + file.path;
      while (next.done !== true && compareUtf8(next.value.key, key) < 0) next = await present.next();
      const sent = send(file, next.done !== true && next.value.key === key ? next.value : undefined).finally(() => sending.delete(sent));
      sent.catch(() => undefined); // thrown where it is waited for
      sending.add(sent);
      if (sending.size >= FILES_AT_ONCE) await Promise.race(sending);
    }
    await Promise.all(sending);
  } finally {
    await Promise.allSettled(sending);
    await present.return();
  }
  const location = `s3://${bucket.name}/${folder}`;
  return { ...done, source: manifest === undefined ? location : `${location}${basename(resolve(from))}` };
}

/** By length and ETag, or by the SHA-256 that graft wrote where the ETag is no MD5. */
async function isSame(bucket: Bucket, { key, bytes, etag }: BucketEntry, body: Uint8Array): Promise<boolean> {
  if (bytes !== body.length) return false;
  if (etag === createHash("md5").update(body).digest("hex")) return true;
  return (await bucket.head(key))?.sha256 === sha256Hex(body);
}

async function readFileOf(source: DatasetSource, file: ListedFile): Promise<Uint8Array> {
  // What lies beside the pictures may be larger than one.
  return file.bytes <= limits.imageBytes ? source.read(file) : readFile(join(source.location, file.path));
}
