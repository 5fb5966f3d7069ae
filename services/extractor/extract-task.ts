import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES, imageIdBytes } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { CommittedShard, Milestone, TaskCommit } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { elementCount, type Shape } from "../../domain/network/network.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { DatasetSource } from "../../platform/dataset-source/dataset-source.js";
import type { Forward } from "../../platform/engine/engine.js";
import type { FeatureStore } from "../../platform/feature-store/feature-store.js";
import type { ImageDecoder, RejectedImage } from "../../platform/image-decoder/image-decoder.js";
import type { TaskProgress } from "../../platform/work-service/work-service.js";
import { FeatureCollector } from "./feature-collector.js";
import { inOrder } from "./in-order.js";
import type { Identity, RecalledIdentities } from "./identities.js";

/** What all tasks of a job share. */
export interface ExtractionContext {
  readonly source: DatasetSource;
  readonly features: FeatureStore;
  readonly featureShape: Shape;
  readonly preprocessing: Preprocessing;
  readonly identities: RecalledIdentities;
  readonly decoder: ImageDecoder;
  /** Compiles the network on the first picture that needs it: a job whose features are all kept loads no engine. */
  readonly forward: () => Promise<Forward>;
  readonly milestone: (milestone: Milestone) => void;
}

export type TaskOutcome =
  | { readonly kind: "extracted"; readonly commit: Omit<TaskCommit, "task" | "worker" | "formatVersion"> }
  /** `failure` is why, if not by the signal or a lost lease. */
  | { readonly kind: "interrupted"; readonly shards: readonly CommittedShard[]; readonly failure?: unknown };

/** What became of each picture that a task decodes. Only the outcome is kept, not the pixels. */
export type Outcomes = Map<ImageId, Promise<RejectedImage | undefined>>;

/** A task and its surroundings. */
export interface TaskRun {
  readonly pictures: readonly ListingRow[];
  readonly outcomes: Outcomes;
  /** Of the task before, which may be under way still: what it decodes is not decoded again. */
  readonly outcomesBefore: Outcomes | undefined;
  readonly progress: (progress: TaskProgress) => Promise<"kept" | "lost">;
  /** Every picture is being read, decoded or done: from now on cores may be idle. */
  readonly allBegun: () => void;
}

/** What reading the pictures of a task taught; remembered at its end. */
type Learned = { readonly picture: ListingRow; readonly identity: Identity }[];

type Prepared =
  | { readonly kind: "cached"; readonly imageId: ImageId }
  | RejectedImage
  | { readonly kind: "decoded"; readonly imageId: ImageId; readonly pixels: Uint8Array; readonly thumbnail: Uint8Array };

/**
 * One task: the pictures of one listing part become features in the store. Pure in the pictures, so doing it twice does no harm.
 * `progress` may answer "lost", the signal may abort, or something fails; then what is extracted so far is written and handed back.
 */
export async function extractTask(run: TaskRun, context: ExtractionContext, signal: AbortSignal): Promise<TaskOutcome> {
  const { pictures, progress } = run;
  const { features, featureShape, preprocessing, milestone } = context;
  // 1. Which features are kept, whoever extracted them.
  await features.refresh();
  const collector = new FeatureCollector(features, featureShape, PLAIN_VIEW);

  // 2. Read, hash and decode ahead of the forward pass, within bounds.
  const imageIds = new Uint8Array(pictures.length * IMAGE_ID_BYTES);
  const rejected: { row: number; reason: string }[] = [];
  const counts = { extracted: 0, cached: 0, rejected: 0 };
  const batch = new PictureBatch(context);
  const learned: Learned = [];
  let row = 0;
  let lost = false;
  const bounds = {
    itemsMax: limits.picturesInFlight,
    bytesMax: limits.pictureBytesInFlight,
    bytesOf: ({ bytes }: ListingRow) => bytes + 3 * preprocessing.size * preprocessing.size,
  };
  const prepareNext = (picture: ListingRow): Promise<Prepared> => prepare(picture, learned, run, context, signal);
  let failure: { readonly error: unknown } | undefined;
  try {
    for await (const prepared of inOrder(withEnd(pictures, run.allBegun), bounds, prepareNext)) {
      if (prepared.kind === "rejected") rejected.push({ row, reason: prepared.reason });
      else imageIds.set(imageIdBytes([prepared.imageId]), row * IMAGE_ID_BYTES);
      row++;
      if (prepared.kind === "decoded") {
        // 3. Run the frozen network on full batches.
        batch.add(prepared);
        if (batch.full) {
          counts.extracted += await batch.runInto(collector);
          milestone("mid batch");
        }
      } else counts[prepared.kind]++;
      if (row % limits.picturesPerHeartbeat === 0) lost = (await progress({ ...counts })) === "lost";
      if (lost || signal.aborted) break;
    }
    counts.extracted += await batch.runInto(collector);
  } catch (error) {
    failure = { error };
  }

  // 4. Write the rest, remember who the pictures are.
  await collector.flush();
  if (collector.shards.length > 0) milestone("after shard put");
  await context.identities.remember(learned);
  if (failure !== undefined && !signal.aborted) return { kind: "interrupted", shards: collector.shards, failure: failure.error };
  if (failure !== undefined || row < pictures.length) return { kind: "interrupted", shards: collector.shards };
  await progress({ ...counts });
  return {
    kind: "extracted",
    commit: {
      imageIds: Buffer.from(imageIds).toString("base64"),
      rejected,
      extracted: counts.extracted,
      cached: counts.cached,
      shards: collector.shards,
    },
  };
}

function* withEnd<T>(items: Iterable<T>, atEnd: () => void): Generator<T, void> {
  yield* items;
  atEnd();
}

/** View 0 is the picture as it is; others come with augmentation. */
const PLAIN_VIEW = 0;

/** Everything that one picture needs before the forward pass. I/O errors are thrown: they fail the task, they never reject a picture. */
async function prepare(
  picture: ListingRow,
  learned: Learned,
  { outcomes, outcomesBefore }: Pick<TaskRun, "outcomes" | "outcomesBefore">,
  { source, features, preprocessing, identities, decoder }: ExtractionContext,
  signal: AbortSignal,
): Promise<Prepared> {
  const recalled = await identities.recall(picture);
  if (recalled?.kind === "rejected") return recalled;
  if (recalled !== undefined && features.has(recalled.imageId, PLAIN_VIEW)) return { kind: "cached", imageId: recalled.imageId };

  if (picture.bytes > limits.imageBytes) {
    return {
      kind: "rejected",
      reason: `${String(picture.bytes)} bytes, more than the ${String(limits.imageBytes)} that a picture may have`,
    };
  }
  signal.throwIfAborted();
  const bytes = await source.read({ path: picture.uri, bytes: picture.bytes, state: picture.state });
  const imageId = sha256Hex(bytes);
  if (features.has(imageId, PLAIN_VIEW)) {
    learned.push({ picture, identity: { kind: "image", imageId } });
    return { kind: "cached", imageId };
  }
  // Pictures with the same bytes are decoded once.
  const twin = outcomes.get(imageId) ?? outcomesBefore?.get(imageId);
  if (twin !== undefined) {
    const rejection = await twin;
    learned.push({ picture, identity: rejection ?? { kind: "image", imageId } });
    return rejection ?? { kind: "cached", imageId };
  }
  signal.throwIfAborted();
  const decoding = decoder.decode(bytes, preprocessing);
  const outcome = decoding.then((decoded) => (decoded.kind === "rejected" ? decoded : undefined));
  outcome.catch(() => undefined); // thrown below; nobody else may be waiting for it
  outcomes.set(imageId, outcome);
  const decoded = await decoding;
  learned.push({ picture, identity: decoded.kind === "rejected" ? decoded : { kind: "image", imageId } });
  if (decoded.kind === "rejected") return decoded;
  return { kind: "decoded", imageId, pixels: decoded.pixels, thumbnail: await decoder.thumbnail(decoded.pixels, preprocessing.size) };
}

/** Decoded pictures on their way into one engine call. */
class PictureBatch {
  private readonly context: ExtractionContext;
  private readonly pending: { imageId: ImageId; pixels: Uint8Array; thumbnail: Uint8Array }[] = [];
  private readonly size: number;
  private pixels: Uint8Array | undefined;

  constructor(context: ExtractionContext) {
    this.context = context;
    this.size = limits.forwardBatch;
  }

  get full(): boolean {
    return this.pending.length === this.size;
  }

  add(picture: { imageId: ImageId; pixels: Uint8Array; thumbnail: Uint8Array }): void {
    this.pending.push(picture);
  }

  /** Runs what is pending and hands the features on; returns how many. */
  async runInto(collector: FeatureCollector): Promise<number> {
    const count = this.pending.length;
    if (count === 0) return 0;
    const forward = await this.context.forward();
    const pictureBytes = this.pending[0]!.pixels.length;
    this.pixels ??= new Uint8Array(this.size * pictureBytes);
    for (const [position, { pixels }] of this.pending.entries()) this.pixels.set(pixels, position * pictureBytes);
    const output = await forward.run(this.pixels.subarray(0, count * pictureBytes), count);
    const elements = elementCount(this.context.featureShape);
    for (const [position, { imageId, thumbnail }] of this.pending.entries()) {
      await collector.add(imageId, output.subarray(position * elements, (position + 1) * elements), thumbnail);
    }
    this.pending.length = 0;
    return count;
  }
}
