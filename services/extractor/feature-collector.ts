import assert from "node:assert";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { shardRowLimit } from "../../domain/features/plan-tasks.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { elementCount, type Shape } from "../../domain/network/network.js";
import type { FeatureArray } from "../../domain/training/grains.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";

interface PendingRow {
  readonly imageId: ImageId;
  readonly feature: FeatureArray;
  /** Of the plain view. */
  readonly thumbnail: Uint8Array | undefined;
}

/**
 * Gathers features row by row, each view apart, and writes a shard whenever one is full; all of them whenever together they would fill one. Rows keep their order, so equal work gives
 * equal shards.
 */
export class FeatureCollectors {
  private readonly store: JobFeatures;
  private readonly shape: Shape;
  private readonly pending = new Map<number, PendingRow[]>();
  private pendingBytes = 0;
  readonly shards: CommittedShard[] = [];

  /** `shape`: of one feature. */
  constructor(store: JobFeatures, shape: Shape) {
    this.store = store;
    this.shape = shape;
  }

  /** The plain view comes with a thumbnail, the others without. */
  async add(view: number, imageId: ImageId, feature: FeatureArray, thumbnail: Uint8Array | undefined): Promise<void> {
    assert(feature.length === elementCount(this.shape));
    assert((thumbnail === undefined) === (view !== 0));
    const rows = this.pending.get(view) ?? [];
    this.pending.set(view, rows);
    rows.push({ imageId, feature, thumbnail });
    this.pendingBytes += feature.byteLength;
    if (rows.length === shardRowLimit(this.shape, feature.BYTES_PER_ELEMENT)) await this.write(view, rows);
    else if (this.pendingBytes >= limits.shardBytes) await this.flush();
  }

  /** Writes what is gathered, a shard a view; nothing if there is nothing. */
  async flush(): Promise<void> {
    for (const [view, rows] of this.pending) await this.write(view, rows);
  }

  private async write(view: number, rows: readonly PendingRow[]): Promise<void> {
    const elements = elementCount(this.shape);
    const values = rows.length * elements;
    const features = rows[0]?.feature instanceof Uint8Array ? new Uint8Array(values) : new Float32Array(values);
    for (const [row, { feature }] of rows.entries()) features.set(feature, row * elements);
    const imageIds = imageIdBytes(rows.map(({ imageId }) => imageId));
    const thumbnails = rows.flatMap(({ thumbnail }) => thumbnail ?? []);
    this.shards.push(await this.store.writeShard({ view, imageIds, features, ...(view === 0 && { thumbnails }) }));
    this.pending.delete(view);
    this.pendingBytes -= features.byteLength;
  }
}
