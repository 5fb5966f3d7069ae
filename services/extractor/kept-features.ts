import type { ImageId } from "../../domain/features/feature-spec.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";

/** Asks the coordinator: one byte, 0 or 1, for each of `imageIds` (`[n, 32]`). An extractor holds no index of the features, which may have millions of entries. */
export type Lookup = (imageIds: Uint8Array, view: number) => Promise<Uint8Array>;

/** Of each picture's first `views` views those that have no features yet: one call a view for all pictures. */
export async function missingViews(
  lookup: Lookup,
  pictures: readonly { readonly imageId: ImageId; readonly views: number }[],
): Promise<number[][]> {
  const missing = pictures.map((): number[] => []);
  const views = Math.max(0, ...pictures.map((picture) => picture.views));
  const keptOfView = await Promise.all(
    Array.from({ length: views }, async (_, view) => {
      const asked = [...pictures.keys()].filter((index) => view < pictures[index]!.views);
      const kept = await lookup(imageIdBytes(asked.map((index) => pictures[index]!.imageId)), view);
      return asked.filter((_index, row) => kept[row] !== 1);
    }),
  );
  for (const [view, indices] of keptOfView.entries()) for (const index of indices) missing[index]!.push(view);
  return missing;
}
