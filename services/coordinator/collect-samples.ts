import { CodedError } from "../../domain/errors.js";
import { SampleTableBuilder } from "../../domain/dataset/sample-table.js";
import { SamplesDigest } from "../../domain/dataset/samples-digest.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { ListingRecord, SamplesRecord, CommitRecord } from "../../domain/job/records.js";
import { samplesRecord, commitRecord } from "../../formats/job-records/job-records.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { CommittedTask, Extraction } from "./extraction.js";

/** Rows of one part of the sample table: some ten milliseconds of work. */
const PART_ROWS = 8_192;
/** Bytes that are hashed in one go: about a millisecond. */
const HASHED_BYTES = 1024 * 1024;
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
  clock: Clock,
  signal: AbortSignal,
): Promise<SamplesRecord> {
  // Others on this thread have their turn after every few milliseconds of work.
  const breathe = (): Promise<void> => clock.sleep(0, signal);

  // 1. Every picture of the listing with what became of it. Repairs only made features anew: their pictures are in the listing already.
  const builder = new SampleTableBuilder(listing.classes, listing.pictures);
  const rejected: { uri: string; reason: string }[] = [];
  let rejectedCount = 0;
  const read = async (task: number): Promise<{ readonly commit: CommitRecord | undefined; readonly pictures: ListingRow[] }> => {
    const [commit, pictures] = await Promise.all([job.readCommit(task, commitRecord), job.readListing(task)]);
    return { commit, pictures };
  };
  let next = read(0);
  for (let task = 0; task < listing.tasks; task++) {
    const { commit, pictures } = await next;
    if (task + 1 < listing.tasks) {
      next = read(task + 1);
      next.catch(() => undefined); // awaited in the next round
    }
    await breathe();
    const where = job.keyOf(`commits/${String(task)}.json`);
    if (commit === undefined) throw new CodedError("OBJECT_MISSING", `${where}: it was committed and is gone; run the job again`);
    const reasons = new Map(commit.rejected.map(({ row, reason }) => [row, reason]));
    const ids = Buffer.from(commit.imageIds, "base64");
    if (ids.length !== pictures.length * IMAGE_ID_BYTES)
      throw new CodedError(
        "OBJECT_CORRUPT",
        `${where}: ${String(ids.length / IMAGE_ID_BYTES)} image ids for ${String(pictures.length)} pictures; delete it and run the job again`,
      );
    for (const [row, picture] of pictures.entries()) {
      const reason = reasons.get(row);
      if (reason === undefined) builder.addBytes(ids, row * IMAGE_ID_BYTES, picture);
      else if (rejectedCount++ < REJECTED_LISTED) rejected.push({ uri: picture.uri, reason });
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
  const steps = builder.buildInSteps(listing.givenSplits, spec.split);
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) await breathe();
  const table = step.value;
  const digest = new SamplesDigest(table.classes, table.length);
  const labels = new Int32Array(table.length);
  const splits = new Uint8Array(table.length);
  let parts = 0;
  for (let from = 0; from < table.length; from += PART_ROWS) {
    const { ids, ...columns } = table.rows(from, from + PART_ROWS);
    labels.set(columns.labels, from);
    splits.set(columns.splits, from);
    digest.add(ids);
    await breathe();
    await job.writeSamples(parts++, { imageIds: ids, ...columns });
  }
  for (const values of [new Uint8Array(labels.buffer), splits])
    for (let from = 0; from < values.length; from += HASHED_BYTES) {
      digest.add(values.subarray(from, from + HASHED_BYTES));
      await breathe();
    }
  const committed = [...extraction.committed].filter(([task]) => task < listing.tasks).map(([, commit]) => commit);
  const record: SamplesRecord = {
    formatVersion: 1,
    digest: digest.hex(),
    rows: table.length,
    parts,
    classes: table.classes,
    counts: table.perClass,
    rejectedCount,
    rejected,
    duplicateCount: table.duplicates,
    conflictCount: table.conflicts.count,
    conflicts: table.conflicts.first.map(({ imageId, places }) => ({ imageId, uris: places.map(({ uri }) => uri) })),
    splitConflictCount: table.splitOverlaps.count,
    extraction: {
      extracted: sum(committed, ({ extracted }) => extracted),
      cached: sum(committed, ({ cached }) => cached),
      imagesPerSecond: extraction.imagesPerSecond,
      seconds: extraction.seconds,
      workers: tasksByWorker(committed),
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

function tasksByWorker(commits: readonly CommittedTask[]): Record<string, number> {
  const tasks: Record<string, number> = {};
  for (const { worker } of commits) tasks[worker] = (tasks[worker] ?? 0) + 1;
  return tasks;
}

function sum(commits: readonly CommittedTask[], of: (commit: CommittedTask) => number): number {
  return commits.reduce((total, commit) => total + of(commit), 0);
}

function plural(count: number, one: string, many: string): string {
  return `${String(count)} ${count === 1 ? one : many}`;
}
