import type { ListedPicture, SplitName } from "../../domain/dataset/listing.js";
import { SampleTableBuilder } from "../../domain/dataset/sample-table.js";
import type { SplitSpec } from "../../domain/dataset/split.js";
import { splitNames } from "../../domain/dataset/listing.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IdIndex } from "../../domain/features/id-index.js";
import { imageIdAt, imageIdBytes, IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import type { SplitCounts } from "../../domain/job/expected-counts.js";

/** Who a picture is; undefined where nothing is known of it. */
export type KnownIdentity =
  { readonly kind: "image"; readonly imageId: ImageId } | { readonly kind: "rejected"; readonly reason: string } | undefined;

/** Rejected pictures that are named; the others are counted. */
const REJECTED_NAMED_MAX = 100;

/** Rows that are kept together. */
const CHUNK_ROWS = 16_384;

interface Chunk {
  readonly imageIds: Uint8Array;
  readonly pictures: ListedPicture[];
}

/**
 * Counts the pictures of a listing by split and content as long as every one is known. The first unknown picture ends the exact count, and with
 * it the memory that it takes (some 150 bytes a picture); after that only numbers are kept.
 */
export class PictureCensus {
  readonly #hasFeature: (imageId: ImageId) => boolean;
  #chunks: Chunk[] | undefined = [];
  #toExtract = new IdIndex();
  #rejected: { uri: string; reason: string }[] = [];
  pictures = 0;
  /** Known pictures whose features are kept. */
  cached = 0;
  rejectedCount = 0;

  constructor(hasFeature: (imageId: ImageId) => boolean) {
    this.#hasFeature = hasFeature;
  }

  add(picture: ListedPicture, identity: KnownIdentity): void {
    this.pictures++;
    if (identity === undefined) {
      this.#chunks = undefined;
      this.#toExtract = new IdIndex();
      return;
    }
    if (identity.kind === "rejected") {
      if (this.rejectedCount++ < REJECTED_NAMED_MAX) this.#rejected.push({ uri: picture.uri, reason: identity.reason });
      return;
    }
    const isCached = this.#hasFeature(identity.imageId);
    if (isCached) this.cached++;
    if (this.#chunks === undefined) return;
    const id = imageIdBytes([identity.imageId]);
    if (!isCached) this.#toExtract.set(id, 0, 0, 0);
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || chunk.pictures.length === CHUNK_ROWS) {
      chunk = { imageIds: new Uint8Array(CHUNK_ROWS * IMAGE_ID_BYTES), pictures: [] };
      this.#chunks.push(chunk);
    }
    chunk.imageIds.set(id, chunk.pictures.length * IMAGE_ID_BYTES);
    chunk.pictures.push(picture);
  }

  /** Every picture so far is known. */
  get exact(): boolean {
    return this.#chunks !== undefined;
  }

  get rejected(): readonly { readonly uri: string; readonly reason: string }[] {
    return this.#rejected;
  }

  /** Different pictures without a feature; only while `exact`. */
  get toExtract(): number {
    return this.#toExtract.size;
  }

  /**
   * The counts that a job's sample table will have, by the same rules (copies once, conflicts left out). Only while `exact`; takes the collected rows, so call it once.
   * @throws CodedError DATASET_INVALID where a class has no picture to train on
   */
  splitCounts(classes: readonly string[], givenSplits: readonly SplitName[], split: SplitSpec): SplitCounts {
    const builder = new SampleTableBuilder(classes);
    const chunks = this.#chunks ?? [];
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
      for (const [row, { uri, label, givenSplit }] of chunk.pictures.entries())
        builder.add({ imageId: imageIdAt(chunk.imageIds, row), uri, label, ...(givenSplit && { givenSplit }) });
    }
    const { labels, splits } = builder.build(givenSplits, split);
    const counts = { train: classes.map(() => 0), validation: classes.map(() => 0), test: classes.map(() => 0) };
    for (let row = 0; row < labels.length; row++) counts[splitNames[splits[row]!]!][labels[row]!]!++;
    return counts;
  }
}
