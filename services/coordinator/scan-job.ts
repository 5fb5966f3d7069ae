import { CodedError } from "../../domain/errors.js";
import { ListingDigest } from "../../domain/dataset/listing-digest.js";
import type { ListedPicture } from "../../domain/dataset/listing.js";
import { scanDataset } from "../../domain/dataset/scan.js";
import { planTasks } from "../../domain/features/plan-tasks.js";
import type { ListingRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { decodeManifest, manifestFormat } from "../../formats/manifest/manifest.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";

/** From this many pictures on a task has its largest size, so that parts can be written while the listing still grows. */
const SIZE_IS_KNOWN_FROM = limits.tasksAimedAt * limits.taskPicturesMax;

/**
 * Lists a dataset in parts of one task each. At most `SIZE_IS_KNOWN_FROM` pictures are held: below that the size of a task depends on how many there are.
 * The same dataset gives the same parts and the same digest, so a scan can be repeated to see whether anything changed.
 * @throws CodedError DATASET_INVALID, DATASET_UNREADABLE
 */
export async function scanJob(
  dataset: OpenedDataset,
  writePart: (part: number, rows: readonly ListedPicture[]) => Promise<Uint8Array>,
  progress: (pictures: number) => void,
  clock: Clock,
  signal?: AbortSignal,
): Promise<ListingRecord> {
  const { source, manifest } = dataset;
  const format = manifest && manifestFormat(manifest.name);
  const scan = scanDataset(source.list(), source.location, manifest && format && decodeManifest(manifest.bytes, format, manifest.name));
  const digest = new ListingDigest();
  let held: ListedPicture[] = [];
  let parts = 0;
  let pictures = 0;
  const write = async (rows: readonly ListedPicture[]): Promise<void> => {
    digest.add(await writePart(parts++, rows));
    await clock.sleep(0);
  };
  for await (const picture of scan) {
    signal?.throwIfAborted();
    held.push(picture);
    if (++pictures % PROGRESS_PICTURES === 0) progress(pictures);
    if (pictures % PICTURES_A_TURN === 0) await clock.sleep(0);
    if (pictures >= SIZE_IS_KNOWN_FROM && held.length >= SIZE_IS_KNOWN_FROM) {
      for (let row = 0; row < held.length; row += limits.taskPicturesMax) await write(held.slice(row, row + limits.taskPicturesMax));
      held = [];
    } else if (pictures > SIZE_IS_KNOWN_FROM && held.length === limits.taskPicturesMax) {
      await write(held);
      held = [];
    }
  }
  const { taskPictures, tasks } = planTasks(pictures);
  for (let row = 0; row < held.length; row += taskPictures) await write(held.slice(row, row + taskPictures));
  progress(pictures);
  if (parts !== tasks) throw new Error(`the scan wrote ${String(parts)} parts of ${String(tasks)}`);
  const { summary } = scan;
  return {
    formatVersion: 1,
    source: source.location,
    pictures,
    tasks,
    taskPictures,
    digest: digest.hex(),
    classes: summary.classes,
    counts: summary.counts,
    givenSplits: summary.givenSplits,
    ignoredCount: summary.ignored.count,
    ignored: summary.ignored.first,
  };
}

const PROGRESS_PICTURES = 10_000;
/** A source that has thousands of names at hand would let nothing else have its turn: some milliseconds. */
const PICTURES_A_TURN = 2_048;

/** A dataset that changed between two scans of one job. */
export function datasetChanged(location: string): CodedError {
  return new CodedError(
    "DATASET_CHANGED",
    `${location}: its files changed since this job listed them; start a new job, features of unchanged pictures are used again`,
  );
}
