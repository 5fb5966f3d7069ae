import { imageIdAt } from "../../domain/features/image-ids.js";
import type { MisclassifiedPicture, Picture } from "../../formats/report/report-input.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { Classified } from "./export-result.js";
import type { TrainingSet } from "./training-set.js";

const SAMPLES_A_CLASS = 8;
const MISCLASSIFIED_SHOWN = 50;

/** Eight training pictures of each class, the first by image id: a fair sample, and the same in every run. */
export async function samplePictures(
  classes: readonly string[],
  { train }: TrainingSet,
  features: JobFeatures,
): Promise<{ label: string; pictures: Picture[] }[]> {
  const rows: number[][] = classes.map(() => []);
  for (let row = 0; row < train.rows; row++) {
    const ofClass = rows[train.labels[row]!]!;
    if (ofClass.length < SAMPLES_A_CLASS) ofClass.push(row);
  }
  const thumbnails = await features.readThumbnails(rows.flat().map((row) => imageIdAt(train.imageIds, row)));
  return classes.map((label, index) => ({
    label,
    pictures: rows[index]!.map((row) => ({ uri: train.uris[row]!, thumbnail: thumbnails.get(imageIdAt(train.imageIds, row)) })),
  }));
}

/** The most confident mistakes first: those teach most about data and model. */
export async function misclassifiedPictures(
  classes: readonly string[],
  { rows, wrong }: Classified,
  features: JobFeatures,
): Promise<MisclassifiedPicture[]> {
  const shown = [...wrong].sort((a, b) => b.probability - a.probability).slice(0, MISCLASSIFIED_SHOWN);
  const thumbnails = await features.readThumbnails(shown.map(({ row }) => imageIdAt(rows.imageIds, row)));
  return shown.map(({ row, predicted, probability }) => ({
    uri: rows.uris[row]!,
    thumbnail: thumbnails.get(imageIdAt(rows.imageIds, row)),
    label: classes[rows.labels[row]!]!,
    predicted: classes[predicted]!,
    probability,
  }));
}
