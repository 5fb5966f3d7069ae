import assert from "node:assert";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { shardRowLimit } from "../../domain/features/plan-tasks.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { elementCount, type Shape } from "../../domain/network/network.js";
import type { FeatureStore } from "../../platform/feature-store/feature-store.js";

/** Gathers features row by row and writes a shard whenever one is full. Rows keep their order, so equal work gives equal shards. */
export class FeatureCollector {
  private readonly store: FeatureStore;
  private readonly elements: number;
  private readonly rowsMax: number;
  private readonly view: number;
  private readonly ids: ImageId[] = [];
  private readonly features: Float32Array[] = [];
  private readonly thumbnails: Uint8Array[] = [];
  readonly shards: CommittedShard[] = [];

  constructor(store: FeatureStore, shape: Shape, view: number) {
    this.store = store;
    this.elements = elementCount(shape);
    this.rowsMax = shardRowLimit(shape);
    this.view = view;
  }

  async add(imageId: ImageId, feature: Float32Array, thumbnail: Uint8Array): Promise<void> {
    assert(feature.length === this.elements);
    this.ids.push(imageId);
    this.features.push(feature);
    this.thumbnails.push(thumbnail);
    if (this.ids.length === this.rowsMax) await this.flush();
  }

  /** Writes what is gathered as a shard of its own; nothing if there is nothing. */
  async flush(): Promise<void> {
    const rows = this.ids.length;
    if (rows === 0) return;
    const features = new Float32Array(rows * this.elements);
    for (const [row, feature] of this.features.entries()) features.set(feature, row * this.elements);
    this.shards.push(
      await this.store.writeShard({ view: this.view, imageIds: imageIdBytes(this.ids), features, thumbnails: this.thumbnails }),
    );
    this.ids.length = this.features.length = this.thumbnails.length = 0;
  }
}
