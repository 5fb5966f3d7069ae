import type { ListedPicture, SplitName } from "../../domain/dataset/listing.js";
import { SampleTableBuilder } from "../../domain/dataset/sample-table.js";
import type { SplitSpec } from "../../domain/dataset/split.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IdIndex } from "../../domain/features/id-index.js";
import { imageIdAt, imageIdBytes, IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { viewsNeeded } from "../../domain/features/needed-views.js";
import type { SplitCounts } from "../../domain/job/expected-counts.js";
import type { ToExtract } from "../../domain/job/plan.js";

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

/** What the views that a picture needs depend on, known before the listing has come to its end. */
export interface NeededViews {
  /** Of a picture that is trained on. */
  readonly views: number;
  readonly split: SplitSpec;
  readonly isKept: (imageId: ImageId, view: number) => boolean;
}

/** The splits that a dataset may give, as far as they decide which pictures are trained on: only at the end of the listing is it known which they are. */
const givenSplitsCases: readonly (readonly SplitName[])[] = [[], ["test"], ["validation"]];

/** The case that decides alike: with a given validation split nothing is drawn, with a given test split no test picture is. */
function caseOf(givenSplits: readonly SplitName[]): number {
  return givenSplitsCases.findLastIndex((splits) => splits.every((split) => givenSplits.includes(split)));
}

/**
 * Counts the pictures of a listing by split and content as long as every one is known. The first unknown picture ends the exact count, and with
 * it the memory that it takes (some 150 bytes a picture); after that only numbers are kept.
 */
export class PictureCensus {
  readonly #needed: NeededViews;
  #chunks: Chunk[] | undefined = [];
  #rejected: { uri: string; reason: string }[] = [];
  /** Known pictures of which every view is kept, for each of `givenSplitsCases`. */
  readonly #cached = givenSplitsCases.map(() => 0);
  pictures = 0;
  rejectedCount = 0;

  constructor(needed: NeededViews) {
    this.#needed = needed;
  }

  add(picture: ListedPicture, identity: KnownIdentity): void {
    this.pictures++;
    if (identity === undefined) {
      this.#chunks = undefined;
      return;
    }
    if (identity.kind === "rejected") {
      if (this.rejectedCount++ < REJECTED_NAMED_MAX) this.#rejected.push({ uri: picture.uri, reason: identity.reason });
      return;
    }
    for (const [index, givenSplits] of givenSplitsCases.entries()) {
      const views = this.#viewsOf(picture, identity.imageId, givenSplits);
      if (this.#missing(identity.imageId, 0, views) === 0) this.#cached[index]!++;
    }
    if (this.#chunks === undefined) return;
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || chunk.pictures.length === CHUNK_ROWS) {
      chunk = { imageIds: new Uint8Array(CHUNK_ROWS * IMAGE_ID_BYTES), pictures: [] };
      this.#chunks.push(chunk);
    }
    chunk.imageIds.set(imageIdBytes([identity.imageId]), chunk.pictures.length * IMAGE_ID_BYTES);
    chunk.pictures.push(picture);
  }

  /** Every picture so far is known. */
  get exact(): boolean {
    return this.#chunks !== undefined;
  }

  get rejected(): readonly { readonly uri: string; readonly reason: string }[] {
    return this.#rejected;
  }

  /** Known pictures of which every view that they need is kept. */
  cached(givenSplits: readonly SplitName[]): number {
    return this.#cached[caseOf(givenSplits)]!;
  }

  /** What is not kept, copies of a picture once. Only while `exact`, and before `splitCounts`. */
  toExtract(givenSplits: readonly SplitName[]): ToExtract {
    const found = { pictures: 0, views: 0, thumbnails: 0 };
    // Beside each image id the number of views that its copies so far need.
    const seen = new IdIndex();
    for (const { imageIds, pictures } of this.#chunks ?? []) {
      for (const [row, picture] of pictures.entries()) {
        const imageId = imageIdAt(imageIds, row);
        const entry = seen.find(imageIds, row * IMAGE_ID_BYTES);
        const before = entry < 0 ? 0 : seen.shardOf(entry);
        const views = Math.max(before, this.#viewsOf(picture, imageId, givenSplits));
        const missing = this.#missing(imageId, before, views);
        found.views += missing;
        if (missing > 0 && this.#missing(imageId, 0, before) === 0) found.pictures++;
        if (before === 0 && this.#missing(imageId, 0, 1) > 0) found.thumbnails++;
        seen.set(imageIds, row * IMAGE_ID_BYTES, views, 0);
      }
    }
    return found;
  }

  #viewsOf({ givenSplit }: ListedPicture, imageId: ImageId, givenSplits: readonly SplitName[]): number {
    return viewsNeeded(this.#needed.views, imageId, givenSplit, givenSplits, this.#needed.split);
  }

  /** Of the views from `from` to before `to`. */
  #missing(imageId: ImageId, from: number, to: number): number {
    let missing = 0;
    for (let view = from; view < to; view++) if (!this.#needed.isKept(imageId, view)) missing++;
    return missing;
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
    return builder.build(givenSplits, split).perClass;
  }
}
