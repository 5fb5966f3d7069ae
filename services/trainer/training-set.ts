import { CodedError } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import type { SamplesRecord } from "../../domain/job/records.js";
import { elementCount } from "../../domain/network/network.js";
import { splitNames, type SplitName } from "../../domain/dataset/listing.js";
import type { FeatureArray } from "../../domain/training/grains.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";

/** Rows of one split in the order of their image ids. */
export interface SplitRows {
  /** `[rows, featureLength]` of the plain view. */
  readonly features: FeatureArray;
  readonly labels: Int32Array;
  readonly uris: readonly string[];
  /** `[rows, 32]` */
  readonly imageIds: Uint8Array;
  readonly rows: number;
}

export interface TrainingSet extends Readonly<Record<SplitName, SplitRows>> {
  /** Features of the training rows in each view, the plain one first. */
  readonly trainViews: readonly FeatureArray[];
}

/** Features that the sample table names and the store does not have (any more). */
export class MissingFeatures extends Error {
  readonly imageIds: readonly ImageId[];

  constructor(imageIds: readonly ImageId[]) {
    super(`${String(imageIds.length)} features are missing`);
    this.imageIds = imageIds;
  }
}

/**
 * The sample table with its features, resident in memory: all rows in the plain view, training rows in all `views`.
 * @throws MissingFeatures where shards are gone or corrupt; they are quarantined by then.
 */
export async function loadTrainingSet(
  job: JobObjects,
  samples: SamplesRecord,
  features: JobFeatures,
  views: number,
  signal: AbortSignal,
): Promise<TrainingSet> {
  // 1. The table, divided by split; within a split the order of the image ids stays.
  const uris: Record<SplitName, string[]> = { train: [], validation: [], test: [] };
  const labels: Record<SplitName, number[]> = { train: [], validation: [], test: [] };
  const ids: Record<SplitName, Uint8Array[]> = { train: [], validation: [], test: [] };
  for (let part = 0; part < samples.parts; part++) {
    const table = await job.readSamples(part);
    for (let row = 0; row < table.uris.length; row++) {
      const split = splitNames[table.splits[row]!]!;
      uris[split].push(table.uris[row]!);
      labels[split].push(table.labels[row]!);
      ids[split].push(table.imageIds.subarray(row * IMAGE_ID_BYTES, (row + 1) * IMAGE_ID_BYTES));
    }
  }

  // 2. The features of all splits in one pass over the shards.
  const wanted = Buffer.concat(splitNames.flatMap((split) => ids[split]));
  await features.refresh();
  const read = await features.readRows(wanted, 0, signal);
  if (read.kind === "missing") throw new MissingFeatures(read.imageIds);

  const length = elementCount(features.shape);
  let begin = 0;
  const rowsOf = (split: SplitName): SplitRows => {
    const rows = uris[split].length;
    const slice = {
      features: read.features.subarray(begin * length, (begin + rows) * length),
      labels: Int32Array.from(labels[split]),
      uris: uris[split],
      imageIds: wanted.subarray(begin * IMAGE_ID_BYTES, (begin + rows) * IMAGE_ID_BYTES),
      rows,
    };
    begin += rows;
    return slice;
  };
  const set = { train: rowsOf("train"), validation: rowsOf("validation"), test: rowsOf("test") };
  if (set.train.rows === 0)
    throw new CodedError("DATASET_INVALID", "the sample table has no training pictures; add pictures or change dataset.split");

  // 3. The other views of the training rows.
  const trainViews = [set.train.features];
  const lost = new Set<ImageId>();
  for (let view = 1; view < views; view++) {
    const more = await features.readRows(set.train.imageIds, view, signal);
    if (more.kind === "complete") trainViews.push(more.features);
    else for (const imageId of more.imageIds) lost.add(imageId);
  }
  if (lost.size > 0) throw new MissingFeatures([...lost]);
  return { ...set, trainViews };
}
