import type { ImageId } from "../../domain/features/feature-spec.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { limits } from "../../domain/limits.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { RejectedImage } from "../../platform/image-decoder/image-decoder.js";
import type { ExtractionContext, TaskRun } from "./extract-task.js";
import type { Identity } from "./identities.js";

/** What became of each picture that a task decodes. Only the outcome is kept, not the pixels. */
export type Outcomes = Map<ImageId, Promise<RejectedImage | undefined>>;

/** What reading the pictures of a task taught; remembered at its end. */
export type Learned = { readonly picture: ListingRow; readonly identity: Identity }[];

/** A picture with the views of it that have no features yet. */
export interface DecodedPicture {
  readonly kind: "decoded";
  readonly imageId: ImageId;
  readonly views: readonly DecodedView[];
}

export interface DecodedView {
  readonly view: number;
  /** `[size, size, 3]` */
  readonly pixels: Uint8Array;
  /** Of the plain view. */
  readonly thumbnail: Uint8Array | undefined;
}

export type Prepared = { readonly kind: "cached"; readonly imageId: ImageId } | RejectedImage | DecodedPicture;

/** Everything that one picture needs before the forward pass. I/O errors are thrown: they fail the task, they never reject a picture. */
export async function preparePicture(
  picture: ListingRow,
  learned: Learned,
  { outcomes, outcomesBefore, kept }: Pick<TaskRun, "outcomes" | "outcomesBefore" | "kept">,
  context: ExtractionContext,
  signal: AbortSignal,
): Promise<Prepared> {
  const { source, identities } = context;
  const missingViews = (imageId: ImageId): Promise<number[]> => kept.missingViews(imageId, context.viewsOf(picture, imageId));

  const recalled = await identities.recall(picture);
  if (recalled?.kind === "rejected") return recalled;
  if (recalled !== undefined && (await missingViews(recalled.imageId)).length === 0) return { kind: "cached", imageId: recalled.imageId };

  if (picture.bytes > limits.imageBytes) {
    return {
      kind: "rejected",
      reason: `${String(picture.bytes)} bytes, more than the ${String(limits.imageBytes)} that a picture may have`,
    };
  }
  signal.throwIfAborted();
  const bytes = await source.read({ path: picture.uri, bytes: picture.bytes, state: picture.state });
  const imageId = sha256Hex(bytes);
  const missing = await missingViews(imageId);
  if (missing.length === 0) {
    learned.push({ picture, identity: { kind: "image", imageId } });
    return { kind: "cached", imageId };
  }
  // Pictures with the same bytes are decoded once.
  const twin = outcomes.get(imageId) ?? outcomesBefore?.get(imageId);
  if (twin !== undefined) {
    const rejection = await twin;
    learned.push({ picture, identity: rejection ?? { kind: "image", imageId } });
    return rejection ?? { kind: "cached", imageId };
  }
  signal.throwIfAborted();
  const decoding = decodeViews(bytes, imageId, missing, context);
  const outcome = decoding.then((decoded) => (decoded.kind === "rejected" ? decoded : undefined));
  outcome.catch(() => undefined); // thrown below; nobody else may be waiting for it
  outcomes.set(imageId, outcome);
  const decoded = await decoding;
  learned.push({ picture, identity: decoded.kind === "rejected" ? decoded : { kind: "image", imageId } });
  return decoded;
}

async function decodeViews(
  bytes: Uint8Array,
  imageId: ImageId,
  views: readonly number[],
  { decoder, preprocessing, augmentation }: ExtractionContext,
): Promise<DecodedPicture | RejectedImage> {
  const decoded = await decoder.decodeViews(bytes, preprocessing, { imageId, augmentation, views });
  if (decoded.kind === "rejected") return decoded;
  const withThumbnails = decoded.pictures.map(async (pixels, index): Promise<DecodedView> => {
    const view = views[index]!;
    return { view, pixels, thumbnail: view === 0 ? await decoder.thumbnail(pixels, preprocessing.size) : undefined };
  });
  return { kind: "decoded", imageId, views: await Promise.all(withThumbnails) };
}
