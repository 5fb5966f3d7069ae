import type { ImageId } from "../../domain/features/feature-spec.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { limits } from "../../domain/limits.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { RejectedImage } from "../../platform/image-decoder/image-decoder.js";
import type { ExtractionContext, TaskRun } from "./extract-task.js";
import type { Identity } from "./identities.js";
import { missingViews } from "./kept-features.js";

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

/**
 * Everything that pictures need before the forward pass: they are read and looked up together, then decoded each by itself. The answers come in the order of the pictures.
 * I/O errors are thrown: they fail the task, they never reject a picture.
 */
export async function preparePictures(
  pictures: readonly ListingRow[],
  learned: Learned,
  { outcomes, outcomesBefore, lookup }: Pick<TaskRun, "outcomes" | "outcomesBefore" | "lookup">,
  context: ExtractionContext,
  signal: AbortSignal,
): Promise<readonly Promise<Prepared>[]> {
  const missingOf = async (known: readonly { readonly picture: ListingRow; readonly imageId: ImageId }[]) =>
    missingViews(
      lookup,
      known.map(({ picture, imageId }) => ({ imageId, views: context.viewsOf(picture, imageId) })),
    );

  // 1. Whose features are kept need not be read, where an earlier run learned who they are.
  const prepared = new Map<ListingRow, Prepared | Promise<Prepared>>();
  const recalled = await Promise.all(pictures.map(async (picture) => ({ picture, identity: await context.identities.recall(picture) })));
  for (const { picture, identity } of recalled) if (identity?.kind === "rejected") prepared.set(picture, identity);
  const known = recalled.flatMap(({ picture, identity }) => (identity?.kind === "image" ? [{ picture, imageId: identity.imageId }] : []));
  for (const [index, missing] of (await missingOf(known)).entries()) {
    const { picture, imageId } = known[index]!;
    if (missing.length === 0) prepared.set(picture, { kind: "cached", imageId });
  }

  // 2. The others are read; files that are too large are not.
  for (const picture of pictures) {
    if (prepared.has(picture) || picture.bytes <= limits.imageBytes) continue;
    const reason = `${String(picture.bytes)} bytes, more than the ${String(limits.imageBytes)} that a picture may have`;
    prepared.set(picture, { kind: "rejected", reason });
  }
  signal.throwIfAborted();
  const read = await Promise.all(
    pictures
      .filter((picture) => !prepared.has(picture))
      .map(async (picture) => {
        const bytes = await context.source.read({ path: picture.uri, bytes: picture.bytes, state: picture.state });
        return { picture, bytes, imageId: sha256Hex(bytes) };
      }),
  );
  const missing = await missingOf(read);
  signal.throwIfAborted();

  // 3. Pictures with the same bytes are decoded once.
  const decode = (bytes: Uint8Array, imageId: ImageId, views: readonly number[]): Promise<Prepared> => {
    const decoded = context.decodeSlots.run(() => decodeViews(bytes, imageId, views, context, signal));
    const rejection = decoded.then((outcome) => (outcome.kind === "rejected" ? outcome : undefined));
    rejection.catch(() => undefined); // thrown below; nobody else may be waiting for it
    outcomes.set(imageId, rejection);
    return decoded;
  };
  for (const [index, { picture, bytes, imageId }] of read.entries()) {
    const views = missing[index]!;
    const cached: Prepared = { kind: "cached", imageId };
    const twin = views.length === 0 ? Promise.resolve(undefined) : (outcomes.get(imageId) ?? outcomesBefore?.get(imageId));
    const taught = (twin?.then((rejection) => rejection ?? cached) ?? decode(bytes, imageId, views)).then((outcome) => {
      learned.push({ picture, identity: outcome.kind === "rejected" ? outcome : { kind: "image", imageId } });
      return outcome;
    });
    taught.catch(() => undefined); // awaited in order: a failure of a later picture must not end the process first
    prepared.set(picture, taught);
  }
  return pictures.map((picture) => Promise.resolve(prepared.get(picture)!));
}

async function decodeViews(
  bytes: Uint8Array,
  imageId: ImageId,
  views: readonly number[],
  { decoder, preprocessing, augmentation }: ExtractionContext,
  signal: AbortSignal,
): Promise<DecodedPicture | RejectedImage> {
  signal.throwIfAborted();
  const decoded = await decoder.decodeViews(bytes, preprocessing, { imageId, augmentation, views });
  if (decoded.kind === "rejected") return decoded;
  const withThumbnails = decoded.pictures.map(async (pixels, index): Promise<DecodedView> => {
    const view = views[index]!;
    return { view, pixels, thumbnail: view === 0 ? await decoder.thumbnail(pixels, preprocessing.size) : undefined };
  });
  return { kind: "decoded", imageId, views: await Promise.all(withThumbnails) };
}
