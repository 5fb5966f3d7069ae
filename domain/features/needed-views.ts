import type { SplitName } from "../dataset/listing.js";
import { assignedSplit, type SplitSpec } from "../dataset/split.js";
import type { ImageId } from "./feature-spec.js";

/**
 * How many views of a picture a job needs: all of a picture that is trained on, of others the plain one. A picture that stands in several given splits may get views that nobody uses.
 */
export function viewsNeeded(
  views: number,
  imageId: ImageId,
  given: SplitName | undefined,
  givenSplits: readonly SplitName[],
  split: SplitSpec,
): number {
  return views > 1 && assignedSplit(imageId, given, givenSplits, split) === "train" ? views : 1;
}
