import type { FeatureSpec, ImageId } from "../../domain/features/feature-spec.js";
import { valueBytes } from "../../domain/features/plan-tasks.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { elementCount, type Shape } from "../../domain/network/network.js";
import type { ObjectStore } from "../object-store/object-store.js";
import { FeatureStore, type RowPlace, type RowsRead, type ShardRows } from "../feature-store/feature-store.js";

/** The features that a job works with: those of the plain pictures, which jobs with and without views share, and those of their other views, which depend on the augmentation too. */
export class JobFeatures {
  readonly #plain: FeatureStore;
  readonly #views: FeatureStore | undefined;

  constructor(plain: FeatureStore, views: FeatureStore | undefined) {
    this.#plain = plain;
    this.#views = views;
  }

  /** Records the specs and reads the indexes. */
  static async open(store: ObjectStore, plain: FeatureSpec, views: FeatureSpec | null): Promise<JobFeatures> {
    return new JobFeatures(await FeatureStore.open(store, plain), views === null ? undefined : await FeatureStore.open(store, views));
  }

  /** For who writes shards only: reads no index, which may have millions of entries. */
  static forWriting(store: ObjectStore, plain: FeatureSpec, views: FeatureSpec | null): JobFeatures {
    return new JobFeatures(new FeatureStore(store, plain), views === null ? undefined : new FeatureStore(store, views));
  }

  /** Of one feature. */
  get shape(): Shape {
    return this.#plain.spec.shape;
  }

  /** Bytes of one feature. */
  get rowBytes(): number {
    const { shape, dtype } = this.#plain.spec;
    return elementCount(shape) * valueBytes(dtype);
  }

  /** As `FeatureStore.problems`. */
  get problems(): readonly string[] {
    return [...this.#plain.problems, ...(this.#views?.problems ?? [])];
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#stores.map((store) => store.refresh()));
  }

  /** Digest of what the features of that view depend on, the name of their folder. */
  digestOf(view: number): string {
    return this.#of(view).digest;
  }

  /** As `FeatureStore.lookup`. */
  lookup(imageId: ImageId | Uint8Array, view: number): RowPlace | undefined {
    return this.#of(view).lookup(imageId, view);
  }

  has(imageId: ImageId | Uint8Array, view: number): boolean {
    return this.#of(view).has(imageId, view);
  }

  writeShard(rows: ShardRows): Promise<CommittedShard> {
    return this.#of(rows.view).writeShard(rows);
  }

  async append(shards: readonly CommittedShard[]): Promise<void> {
    const plain = shards.filter(({ view }) => view === 0);
    const others = shards.filter(({ view }) => view !== 0);
    if (plain.length > 0) await this.#plain.append(plain);
    if (others.length > 0) await this.#of(1).append(others);
  }

  readRows(ids: readonly ImageId[] | Uint8Array, view: number, signal?: AbortSignal): Promise<RowsRead> {
    return this.#of(view).readRows(ids, view, signal);
  }

  /** Thumbnails are of the plain pictures. */
  readThumbnails(ids: readonly ImageId[]): Promise<Map<ImageId, Uint8Array>> {
    return this.#plain.readThumbnails(ids);
  }

  get #stores(): FeatureStore[] {
    return this.#views === undefined ? [this.#plain] : [this.#plain, this.#views];
  }

  #of(view: number): FeatureStore {
    if (view === 0) return this.#plain;
    if (this.#views === undefined) throw new Error(`view ${view} of a job without views`);
    return this.#views;
  }
}
