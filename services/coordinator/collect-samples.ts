import { CodedError } from "../../domain/errors.js";
import { SampleTableBuilder, type SampleTable } from "../../domain/dataset/sample-table.js";
import { samplesDigest } from "../../domain/dataset/samples-digest.js";
import { splitNames } from "../../domain/dataset/listing.js";
import { IMAGE_ID_BYTES, imageIdAt } from "../../domain/features/image-ids.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { ListingRecord, SamplesRecord, TaskCommit } from "../../domain/job/records.js";
import { samplesRecord } from "../../formats/job-records/job-records.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { Extraction } from "./extraction.js";

/** Rows of one part of the sample table. */
const PART_ROWS = 65_536;
/** Rejected pictures that are listed with their reasons; the rest are counted. */
const REJECTED_LISTED = 1_000;

/**
 * Joins listing and commits to the sample table that training works from.
 * @throws CodedError TOO_MANY_REJECTED; DATASET_INVALID where a class has no picture left to train on
 */
export async function collectSamples(
  job: JobObjects,
  spec: ResolvedJob["dataset"],
  listing: ListingRecord,
  extraction: Extraction,
  signal: AbortSignal,
): Promise<SamplesRecord> {
  // 1. Every picture of the listing with what became of it. Repairs only made features anew: their pictures are in the listing already.
  const builder = new SampleTableBuilder(listing.classes);
  const rejected: { uri: string; reason: string }[] = [];
  let rejectedCount = 0;
  const commits = extraction.commits.filter(({ task }) => task < listing.tasks);
  for (const commit of commits) {
    signal.throwIfAborted();
    const pictures = await job.readListing(commit.task);
    const reasons = new Map(commit.rejected.map(({ row, reason }) => [row, reason]));
    const ids = Buffer.from(commit.imageIds, "base64");
    if (ids.length !== pictures.length * IMAGE_ID_BYTES)
      throw new CodedError(
        "OBJECT_CORRUPT",
        `${job.keyOf(`commits/${String(commit.task)}.json`)}: ${String(ids.length / IMAGE_ID_BYTES)} image ids for ${String(pictures.length)} pictures; delete it and run the job again`,
      );
    for (const [row, { uri, label, givenSplit }] of pictures.entries()) {
      const reason = reasons.get(row);
      if (reason === undefined) builder.add({ imageId: imageIdAt(ids, row), uri, label, ...(givenSplit && { givenSplit }) });
      else if (rejectedCount++ < REJECTED_LISTED) rejected.push({ uri, reason });
    }
  }
  const percent = (100 * rejectedCount) / listing.pictures;
  if (percent > spec.maxRejectedPercent) {
    const first = rejected.slice(0, 5).map(({ uri, reason }) => `${JSON.stringify(uri)}: ${reason}`);
    throw new CodedError(
      "TOO_MANY_REJECTED",
      `${String(rejectedCount)} of ${String(listing.pictures)} pictures (${percent.toFixed(1)} %) were rejected, at most ${String(spec.maxRejectedPercent)} % are allowed (dataset.maxRejectedPercent): ${first.join("; ")}${rejectedCount > 5 ? "; …" : ""}`,
      { rejectedCount, rejected: rejected.slice(0, 100) },
    );
  }

  // 2. The table, written in parts; the summary makes it stand.
  const table = builder.build(listing.givenSplits, spec.split);
  let parts = 0;
  for (let from = 0; from < table.length; from += PART_ROWS) {
    const to = Math.min(table.length, from + PART_ROWS);
    await job.writeSamples(parts++, {
      imageIds: table.ids.subarray(from * IMAGE_ID_BYTES, to * IMAGE_ID_BYTES),
      labels: table.labels.subarray(from, to),
      splits: table.splits.subarray(from, to),
      uris: table.uris.slice(from, to),
    });
  }
  const record: SamplesRecord = {
    formatVersion: 1,
    digest: samplesDigest(table),
    rows: table.length,
    parts,
    classes: table.classes,
    counts: countsOf(table),
    rejectedCount,
    rejected,
    duplicateCount: table.duplicates,
    conflictCount: table.conflicts.count,
    conflicts: table.conflicts.first.map(({ imageId, places }) => ({ imageId, uris: places.map(({ uri }) => uri) })),
    splitConflictCount: table.splitOverlaps.count,
    extraction: {
      extracted: sum(commits, ({ extracted }) => extracted),
      cached: sum(commits, ({ cached }) => cached),
      imagesPerSecond: extraction.imagesPerSecond,
      seconds: extraction.seconds,
      workers: tasksByWorker(commits),
    },
  };
  return (await job.createJson("samples/summary.json", record, samplesRecord)).value;
}

/** What a user should know of the table: nothing here keeps the job from running. */
export function warningsOf({
  rejectedCount,
  rejected,
  duplicateCount,
  conflictCount,
  conflicts,
  splitConflictCount,
  classes,
  counts,
}: SamplesRecord): string[] {
  const warnings: string[] = [];
  if (rejectedCount > 0)
    warnings.push(
      `${plural(rejectedCount, "picture was", "pictures were")} rejected, the first: ${rejected[0]?.uri ?? ""}: ${rejected[0]?.reason ?? ""}`,
    );
  if (duplicateCount > 0)
    warnings.push(`${plural(duplicateCount, "picture is a copy", "pictures are copies")} of another and counted once`);
  if (conflictCount > 0)
    warnings.push(
      `${plural(conflictCount, "picture stands", "pictures stand")} under two labels and left out, the first: ${conflicts[0]?.uris.join(", ") ?? ""}`,
    );
  if (splitConflictCount > 0)
    warnings.push(
      `${plural(splitConflictCount, "picture stands", "pictures stand")} in several splits and kept in the evaluation split only`,
    );
  for (const split of ["validation", "test"] as const) {
    const empty = classes.filter((_, index) => counts[split][index] === 0);
    if (empty.length > 0 && empty.length < classes.length)
      warnings.push(`no ${split} picture of ${empty.map((name) => JSON.stringify(name)).join(", ")}`);
  }
  return warnings;
}

function countsOf({ classes, labels, splits }: SampleTable): SamplesRecord["counts"] {
  const counts = { train: classes.map(() => 0), validation: classes.map(() => 0), test: classes.map(() => 0) };
  for (let row = 0; row < labels.length; row++) counts[splitNames[splits[row]!]!][labels[row]!]!++;
  return counts;
}

function tasksByWorker(commits: readonly TaskCommit[]): Record<string, number> {
  const tasks: Record<string, number> = {};
  for (const { worker } of commits) tasks[worker] = (tasks[worker] ?? 0) + 1;
  return tasks;
}

function sum(commits: readonly TaskCommit[], of: (commit: TaskCommit) => number): number {
  return commits.reduce((total, commit) => total + of(commit), 0);
}

function plural(count: number, one: string, many: string): string {
  return `${String(count)} ${count === 1 ? one : many}`;
}
