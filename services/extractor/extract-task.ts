import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES, imageIdBytes } from "../../domain/features/image-ids.js";
import type { Augmentation } from "../../domain/features/views.js";
import type { CommittedShard, Milestone, TaskCommit } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import type { Shape } from "../../domain/network/network.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { DatasetSource } from "../../platform/dataset-source/dataset-source.js";
import type { Forward } from "../../platform/engine/engine.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { ImageDecoder } from "../../platform/image-decoder/image-decoder.js";
import type { TaskProgress } from "../../platform/work-service/work-service.js";
import { FeatureCollectors } from "./feature-collector.js";
import { inOrder } from "./in-order.js";
import type { Lookup } from "./kept-features.js";
import type { RecalledIdentities } from "./identities.js";
import { PictureBatch } from "./picture-batch.js";
import { type Learned, type Outcomes, preparePictures } from "./prepare-picture.js";
import type { Slots } from "./slots.js";

/** What all tasks of a job share. */
export interface ExtractionContext {
  readonly source: DatasetSource;
  readonly features: JobFeatures;
  readonly featureShape: Shape;
  readonly preprocessing: Preprocessing;
  /** How views above 0 are drawn; undefined where there are none. */
  readonly augmentation: Augmentation | undefined;
  /** The most views that the job needs of a picture … */
  readonly views: number;
  /** … and how many it needs of this one. */
  readonly viewsOf: (picture: ListingRow, imageId: ImageId) => number;
  readonly identities: RecalledIdentities;
  readonly decoder: ImageDecoder;
  readonly decodeSlots: Slots;
  /** Compiles the network on the first picture that needs it: a job whose features are all kept loads no engine. Undefined where pixels are the features. */
  readonly forward: (() => Promise<Forward>) | undefined;
  readonly milestone: (milestone: Milestone) => void;
}

export type TaskOutcome =
  | { readonly kind: "extracted"; readonly commit: Omit<TaskCommit, "task" | "worker" | "formatVersion"> }
  /** `failure` is why, if not by the signal or a lost lease. */
  | { readonly kind: "interrupted"; readonly shards: readonly CommittedShard[]; readonly failure?: unknown };

/** A task and its surroundings. */
export interface TaskRun {
  readonly pictures: readonly ListingRow[];
  readonly outcomes: Outcomes;
  /** Of the task before, which may be under way still: what it decodes is not decoded again. */
  readonly outcomesBefore: Outcomes | undefined;
  readonly progress: (progress: TaskProgress) => Promise<"kept" | "lost">;
  /** What is extracted already, by whomever. */
  readonly lookup: Lookup;
  /** Every picture is being read, decoded or done: from now on cores may be idle. */
  readonly allBegun: () => void;
}

/**
 * One task: the pictures of one listing part become features in the store. Pure in the pictures, so doing it twice does no harm.
 * `progress` may answer "lost", the signal may abort, or something fails; then what is extracted so far is written and handed back.
 */
export async function extractTask(run: TaskRun, context: ExtractionContext, signal: AbortSignal): Promise<TaskOutcome> {
  const { pictures, outcomes, progress } = run;
  const { features, featureShape, milestone } = context;
  const collectors = new FeatureCollectors(features, featureShape);

  // 1. Read, hash and decode ahead of the forward pass, within bounds.
  const imageIds = new Uint8Array(pictures.length * IMAGE_ID_BYTES);
  const rejected: { row: number; reason: string }[] = [];
  const counts = { extracted: 0, cached: 0, rejected: 0 };
  const batch = new PictureBatch(context, collectors);
  const learned: Learned = [];
  let row = 0;
  let lost = false;
  const bytesOf = ({ bytes }: ListingRow): number => bytes + context.views * 3 * context.preprocessing.size ** 2;
  const groups = withEnd(groupsOf(pictures, bytesOf), run.allBegun);
  const bounds = { itemsMax: 2, bytesMax: limits.pictureBytesInFlight, bytesOf: (group: Group) => group.bytes };
  let failure: { readonly error: unknown } | undefined;
  try {
    for await (const group of inOrder(groups, bounds, (group) => preparePictures(group.pictures, learned, run, context, signal))) {
      for (const promise of group) {
        const prepared = await promise;
        if (prepared.kind === "rejected") rejected.push({ row, reason: shortened(prepared.reason) });
        else imageIds.set(imageIdBytes([prepared.imageId]), row * IMAGE_ID_BYTES);
        row++;
        if (prepared.kind === "decoded") {
          // 2. Run the frozen network on full batches.
          const ran = await batch.add(prepared);
          counts.extracted += ran.pictures;
          if (ran.calls > 0) milestone("mid batch");
        } else counts[prepared.kind]++;
        if (row % limits.picturesPerHeartbeat === 0) lost = (await progress({ ...counts })) === "lost";
        if (lost || signal.aborted) break;
      }
      if (lost || signal.aborted) break;
    }
    counts.extracted += (await batch.finish()).pictures;
  } catch (error) {
    failure = { error };
  }
  await Promise.allSettled(outcomes.values());

  // 3. Write the rest, remember who the pictures are.
  const remembered = context.identities.remember(learned);
  remembered.catch(() => undefined); // awaited below
  await collectors.flush();
  const { shards } = collectors;
  if (shards.length > 0) milestone("after shard put");
  await remembered;
  if (failure !== undefined && !signal.aborted) return { kind: "interrupted", shards, failure: failure.error };
  if (failure !== undefined || row < pictures.length) return { kind: "interrupted", shards };
  await progress({ ...counts });
  return {
    kind: "extracted",
    commit: {
      imageIds: Buffer.from(imageIds).toString("base64"),
      rejected,
      extracted: counts.extracted,
      cached: counts.cached,
      shards,
    },
  };
}

/** Pictures that are read, looked up and decoded together. */
interface Group {
  readonly pictures: readonly ListingRow[];
  readonly bytes: number;
}

/** Consecutive pictures: few enough that two groups keep within the bounds of memory, many enough that the coordinator is seldom asked. */
function* groupsOf(pictures: readonly ListingRow[], bytesOf: (picture: ListingRow) => number): Generator<Group, void> {
  let group: ListingRow[] = [];
  let bytes = 0;
  for (const picture of pictures) {
    const more = bytesOf(picture);
    if (group.length === limits.picturesInGroup || (group.length > 0 && bytes + more > limits.pictureBytesInFlight / 2)) {
      yield { pictures: group, bytes };
      [group, bytes] = [[], 0];
    }
    group.push(picture);
    bytes += more;
  }
  if (group.length > 0) yield { pictures: group, bytes };
}

/** The commit of a task is one message, so what it says of each picture has a bound. */
function shortened(reason: string): string {
  if (reason.length <= limits.rejectionReasonLength) return reason;
  const whole = reason.slice(0, limits.rejectionReasonLength - 1).replace(/\p{Surrogate}/gu, ""); // no half of a character
  return `${whole}…`;
}

function* withEnd<T>(items: Iterable<T>, atEnd: () => void): Generator<T, void> {
  yield* items;
  atEnd();
}
