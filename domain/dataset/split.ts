import { hash } from "node:crypto";
import type { ImageId } from "../features/feature-spec.js";
import type { SplitName } from "./listing.js";

/** Percents add up to 100. */
export interface SplitSpec {
  readonly trainPercent: number;
  readonly validationPercent: number;
  readonly testPercent: number;
  readonly seed: number;
}

/** 2^45, the largest power of two whose hundredfold a double holds exactly. */
const SPACE = 35_184_372_088_832;

/**
 * The split of a picture as a pure function of its bytes and the seed: adding, removing or renaming other pictures moves none, and copies of one picture never
 * stand on both sides. The first 45 bits of SHA-256("graft split 1\nSEED\nIMAGE-ID") are a uniform number in [0, 1) that is compared with the percents.
 */
export function splitOf(imageId: ImageId, { trainPercent, validationPercent, testPercent, seed }: SplitSpec): SplitName {
  const digest = hash("sha256", `graft split 1\n${seed}\n${imageId}`, "hex");
  const position = Math.floor(Number.parseInt(digest.slice(0, 12), 16) / 8) * (trainPercent + validationPercent + testPercent);
  if (position < trainPercent * SPACE) return "train";
  return position < (trainPercent + validationPercent) * SPACE || testPercent === 0 ? "validation" : "test";
}

/**
 * The split that a picture ends up in. What the dataset gives holds; only what it lacks is drawn by content:
 * nothing or train only: all three. Train and test: validation out of train, in the proportion of their percents. Train and validation: no test.
 */
export function assignedSplit(
  imageId: ImageId,
  given: SplitName | undefined,
  givenSplits: readonly SplitName[],
  spec: SplitSpec,
): SplitName {
  if (given !== undefined && given !== "train") return given;
  if (givenSplits.includes("validation")) return given ?? "train";
  return splitOf(imageId, givenSplits.includes("test") ? { ...spec, testPercent: 0 } : spec);
}
