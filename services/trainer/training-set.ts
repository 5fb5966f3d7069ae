import { CodedError } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import type { SamplesRecord } from "../../domain/job/records.js";
import { elementCount } from "../../domain/network/network.js";
import { splitNames, type SplitName } from "../../domain/dataset/listing.js";
import type { FeatureArray } from "../../domain/training/grains.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";

/** Rows of one split in the order of their image ids. */
export interface SplitRows {
  readonly labels: Int32Array;
  readonly uris: readonly string[];
  /** `[rows, 32]` */
  readonly imageIds: Uint8Array;
  readonly rows: number;
}

export interface TrainingSet extends Readonly<Record<SplitName, SplitRows>> {
  /** Undefined where they are streamed. */
  readonly resident: ResidentFeatures | undefined;
}

/** `[rows, featureLength]` of each split in the plain view. */
export interface ResidentFeatures extends Readonly<Record<SplitName, FeatureArray>> {
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
 * The sample table and, unless they are streamed, its features: all rows in the plain view, training rows in all `views`.
 * @throws MissingFeatures where shards are gone or corrupt; they are quarantined by then.
 */
export async function loadTrainingSet(
  job: JobObjects,
  samples: SamplesRecord,
  features: JobFeatures,
  { views, streaming }: Pick<TrainingPlan, "views" | "streaming">,
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
  const wanted = Buffer.concat(splitNames.flatMap((split) => ids[split]));
  let begin = 0;
  const rowsOf = (split: SplitName): SplitRows => {
    const rows = uris[split].length;
    const imageIds = wanted.subarray(begin * IMAGE_ID_BYTES, (begin + rows) * IMAGE_ID_BYTES);
    begin += rows;
    return { labels: Int32Array.from(labels[split]), uris: uris[split], imageIds, rows };
  };
  const table = { train: rowsOf("train"), validation: rowsOf("validation"), test: rowsOf("test") };
  if (table.train.rows === 0)
    throw new CodedError("DATASET_INVALID", "the sample table has no training pictures; add pictures or change dataset.split");

  // 2. Their features.
  await features.refresh();
  return { ...table, resident: streaming === undefined ? await readResident(table, wanted, features, views, signal) : undefined };
}

async function readResident(
  { train, validation }: Readonly<Record<SplitName, SplitRows>>,
  imageIds: Uint8Array,
  features: JobFeatures,
  views: number,
  signal: AbortSignal,
): Promise<ResidentFeatures> {
  // All splits in one pass over the shards.
  const read = await features.readRows(imageIds, 0, signal);
  if (read.kind === "missing") throw new MissingFeatures(read.imageIds);
  const length = elementCount(features.shape);
  const testFrom = train.rows + validation.rows;
  const trainFeatures = read.features.subarray(0, train.rows * length);

  // The other views of the training rows.
  const trainViews = [trainFeatures];
  const lost = new Set<ImageId>();
  for (let view = 1; view < views; view++) {
    const more = await features.readRows(train.imageIds, view, signal);
    if (more.kind === "complete") trainViews.push(more.features);
    else for (const imageId of more.imageIds) lost.add(imageId);
  }
  if (lost.size > 0) throw new MissingFeatures([...lost]);
  return {
    train: trainFeatures,
    validation: read.features.subarray(train.rows * length, testFrom * length),
    test: read.features.subarray(testFrom * length),
    trainViews,
  };
}
