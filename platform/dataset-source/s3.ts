import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { manifestFormat } from "../../formats/manifest/manifest.js";
import type { Bucket, S3Location } from "../bucket/bucket.js";
import type { DatasetSource, ListedFile, OpenedDataset } from "./dataset-source.js";
import { listInParallel } from "./list-bucket.js";

/** A manifest; its text must fit in one string. */
const MANIFEST_BYTES_MAX = 512 * 1024 * 1024;

/**
 * Opens what lies under a prefix, or a manifest (`.csv`, `.jsonl`) with the pictures beside and below it.
 * @throws CodedError DATASET_NOT_FOUND (no bucket, nothing under the prefix), DATASET_UNREADABLE, ACCESS_DENIED
 */
export async function openS3Dataset(bucket: Bucket, { prefix }: S3Location): Promise<OpenedDataset> {
  const location = `s3://${bucket.name}${prefix === "" ? "" : `/${prefix}`}`;
  return asDataset(location, async () => {
    if (manifestFormat(prefix) !== undefined) {
      const found = await bucket.get(prefix, MANIFEST_BYTES_MAX);
      const slash = prefix.lastIndexOf("/");
      if (found !== undefined)
        return {
          source: new S3DatasetSource(bucket, prefix.slice(0, Math.max(0, slash))),
          manifest: { name: prefix.slice(slash + 1), bytes: found.body },
        };
    }
    const folder = prefix === "" ? "" : `${prefix}/`;
    const { objects } = await bucket.list({ prefix: folder });
    if (objects.length > 0) return { source: new S3DatasetSource(bucket, prefix), manifest: undefined };
    throw new CodedError(
      "DATASET_NOT_FOUND",
      `${location}: expected pictures under this prefix or a manifest (.csv, .jsonl), found nothing there; check dataset.source`,
    );
  });
}

/** Pictures under a prefix of a bucket. The objects `NAME/` that some programs write for a folder are listed where the folder is empty, so that an empty class is noticed. */
export class S3DatasetSource implements DatasetSource {
  readonly location: string;
  readonly #bucket: Bucket;
  /** "" or with a slash at its end. */
  readonly #folder: string;

  constructor(bucket: Bucket, prefix: string) {
    this.#bucket = bucket;
    this.#folder = prefix === "" ? "" : `${prefix}/`;
    this.location = `s3://${bucket.name}${prefix === "" ? "" : `/${prefix}`}`;
  }

  async *list(): AsyncGenerator<ListedFile, void, undefined> {
    let marker: ListedFile | undefined;
    const entries = listInParallel(this.#bucket, this.#folder);
    try {
      for await (const { key, bytes, etag } of entries) {
        const path = key.slice(this.#folder.length);
        if (marker !== undefined && !path.startsWith(marker.path)) yield marker;
        marker = undefined;
        if (path.endsWith("/")) marker = { path, bytes: 0, state: "" };
        else if (path !== "") yield { path, bytes, state: `${bytes}-${etag}` };
      }
      if (marker !== undefined) yield marker;
    } catch (error) {
      throw datasetError(error, this.location);
    }
  }

  async read({ path, bytes, state }: ListedFile): Promise<Uint8Array> {
    const uri = `${this.location}/${path}`;
    if (bytes > limits.imageBytes)
      throw new CodedError("DATASET_INVALID", `${uri}: expected a file of at most ${limits.imageBytes} bytes, found ${bytes}`);
    const etag = state.slice(state.indexOf("-") + 1);
    const found = await asDataset(uri, () => this.#bucket.getIfMatch(this.#folder + path, etag, bytes));
    if (found === undefined) throw changed(uri, "found it gone");
    if (found === "changed") throw changed(uri, "found another object there");
    return found.body;
  }
}

function changed(uri: string, found: string): CodedError {
  return new CodedError(
    "DATASET_CHANGED",
    `${uri}: expected the file as it was listed, ${found}; run the job again once the dataset is at rest`,
    { uri },
  );
}

async function asDataset<T>(uri: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw datasetError(error, uri);
  }
}

/** What a store's failure means for who wanted pictures. */
function datasetError(error: unknown, uri: string): unknown {
  if (!(error instanceof CodedError)) return error;
  const { code, message, details } = error;
  if (code === "STORE_UNAVAILABLE") return new CodedError("DATASET_UNREADABLE", `${uri}: ${message}`, { ...details, uri }, error);
  if (code === "STORE_NOT_FOUND") return new CodedError("DATASET_NOT_FOUND", `${uri}: ${message}`, { ...details, uri }, error);
  return error;
}
