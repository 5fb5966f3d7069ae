import type { ClassCount, SplitName } from "../dataset/listing.js";
import type { SplitSpec } from "../dataset/split.js";

/** Pictures per split, one number per class. */
export type SplitCounts = Readonly<Record<SplitName, readonly number[]>>;

/**
 * What `assignedSplit` (domain/dataset/split.ts) is expected to give for these classes, without reading a picture. Rounded so that every class keeps its sum.
 * Duplicates, conflicts and rejected pictures are not foreseen, so the numbers are estimates even where the dataset gives every split.
 */
export function expectedCounts(classes: readonly ClassCount[], givenSplits: readonly SplitName[], split: SplitSpec): SplitCounts {
  const rows = classes.map(({ pictures, given }) => {
    const drawn = pictures - given.validation - given.test;
    if (givenSplits.includes("validation")) return { train: drawn, validation: given.validation, test: given.test };
    const testPercent = givenSplits.includes("test") ? 0 : split.testPercent;
    const percents = split.trainPercent + split.validationPercent + testPercent;
    const train = percents === 0 ? drawn : Math.round((drawn * split.trainPercent) / percents);
    const validation =
      testPercent === 0 ? drawn - train : Math.min(drawn - train, Math.round((drawn * split.validationPercent) / percents));
    return { train, validation: given.validation + validation, test: given.test + drawn - train - validation };
  });
  return { train: rows.map((row) => row.train), validation: rows.map((row) => row.validation), test: rows.map((row) => row.test) };
}

/** Features of all views of the training pictures, and of the plain view of the others. */
export function featureRows(counts: SplitCounts, views: number): number {
  return views * total(counts.train) + total(counts.validation) + total(counts.test);
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
