import { CodedError } from "../../domain/errors.js";
import { featureSpecDigest, type FeatureSpec, type ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES, imageIdAt } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { elementCount } from "../../domain/network/network.js";
import type { FeatureArray } from "../../domain/training/grains.js";
import { decodeShard, encodeShard, type Shard } from "../../formats/arrow-shard/arrow-shard.js";
import { decodeThumbnails, encodeThumbnails } from "../../formats/arrow-shard/thumbnails.js";
import type { ObjectStore } from "../object-store/object-store.js";

export interface ShardRows {
  readonly view: number;
  /** `[rows, 32]` */
  readonly imageIds: Uint8Array;
  /** `[rows, ...spec.shape]` */
  readonly features: FeatureArray;
  /** One JPEG a row. */
  readonly thumbnails?: readonly Uint8Array[];
}

/**
 * The shards of one feature spec and their thumbnails as objects below `folder`, each named by its content; which of them count says the index
 * (platform/feature-store/feature-store.ts). A damaged shard is put aside under `quarantine/`.
 */
export class ShardStore {
  readonly #store: ObjectStore;
  readonly #spec: FeatureSpec;
  readonly #digest: string;
  readonly #folder: string;

  constructor(store: ObjectStore, spec: FeatureSpec, folder: string) {
    this.#store = store;
    this.#spec = spec;
    this.#digest = featureSpecDigest(spec);
    this.#folder = folder;
  }

  /** Stores rows under the SHA-256 of their bytes, thumbnails beside them. */
  async write(rows: ShardRows): Promise<CommittedShard> {
    const { view, imageIds, features, thumbnails } = rows;
    const thumbnailsBody = thumbnails && encodeThumbnails({ imageIds, jpegs: thumbnails });
    const thumbnailsDigest = thumbnailsBody === undefined ? null : sha256Hex(thumbnailsBody);
    const body = encodeShard({ featureSpecDigest: this.#digest, shape: this.#spec.shape, view, imageIds, features });
    const sha256 = sha256Hex(body);
    await Promise.all([
      this.createExactly(this.#shardKey(sha256), body),
      thumbnailsBody && thumbnailsDigest !== null && this.createExactly(this.#thumbnailsKey(thumbnailsDigest), thumbnailsBody),
    ]);
    return {
      sha256,
      bytes: body.length,
      view,
      rows: imageIds.length / IMAGE_ID_BYTES,
      imageIds: Buffer.from(imageIds).toString("base64"),
      thumbnails: thumbnailsDigest,
    };
  }

  /** @throws CodedError OBJECT_MISSING where a shard was not stored with its length */
  async assertStored(shards: readonly CommittedShard[]): Promise<void> {
    const stats = await Promise.all(shards.map(({ sha256 }) => this.#store.stat(this.#shardKey(sha256))));
    for (const [position, { sha256, bytes }] of shards.entries()) {
      const found = stats[position];
      if (found?.bytes === bytes) continue;
      const state = found === undefined ? "no object" : `${found.bytes} bytes`;
      throw new CodedError(
        "OBJECT_MISSING",
        `${this.#shardKey(sha256)}: expected ${bytes} bytes, found ${state}; the task has to be done again`,
        { shard: sha256 },
      );
    }
  }

  /** JPEGs of those of `wanted` that stand in the given objects; what is wrong with one of these is added to `problems`. */
  async readThumbnails(objects: ReadonlySet<string>, wanted: ReadonlySet<ImageId>, problems: string[]): Promise<Map<ImageId, Uint8Array>> {
    const found = new Map<ImageId, Uint8Array>();
    for (const sha256 of objects) {
      const key = this.#thumbnailsKey(sha256);
      const body = await this.#readOrDamaged(key);
      if (body === undefined || body === "damaged" || sha256Hex(body) !== sha256) {
        problems.push(
          `${key}: ${body === undefined ? "the object is gone" : "the bytes do not fit their name"}; its thumbnails are left out`,
        );
        continue;
      }
      const { imageIds, jpegs } = decodeThumbnails(body);
      for (const [row, jpeg] of jpegs.entries()) {
        const id = imageIdAt(imageIds, row);
        // A copy: a view would keep the whole object in memory.
        if (wanted.has(id)) found.set(id, jpeg.slice());
      }
    }
    return found;
  }

  /** The verified shard, or the reason why it cannot be used. */
  async read(known: Pick<CommittedShard, "sha256" | "view" | "rows">): Promise<Shard | string> {
    const body = await this.#readOrDamaged(this.#shardKey(known.sha256));
    if (body === undefined) return "the object is gone";
    if (body === "damaged") return "the store gives other bytes than were written";
    const found = sha256Hex(body);
    if (found !== known.sha256) return `its bytes have SHA-256 ${found}`;
    try {
      const shard = decodeShard(body);
      const fits =
        shard.featureSpecDigest === this.#digest && shard.view === known.view && shard.imageIds.length === known.rows * IMAGE_ID_BYTES;
      const sameKind = shard.features instanceof Uint8Array === (this.#spec.dtype === "uint8");
      return fits && sameKind && elementCount(shard.shape) === elementCount(this.#spec.shape)
        ? shard
        : "it holds other features than the index says";
    } catch (error) {
      if (error instanceof CodedError && error.code === "OBJECT_CORRUPT") return error.message;
      throw error;
    }
  }

  /** Moves a damaged shard aside, unless someone did or has stored it again. */
  async setAside(sha256: string): Promise<void> {
    const key = this.#shardKey(sha256);
    const body = await this.#readOrDamaged(key);
    if (body === "damaged") await this.#store.delete(key);
    else if (body !== undefined && sha256Hex(body) !== sha256) {
      await this.#store.put(`${this.#folder}/quarantine/${sha256}.arrow`, body);
      await this.#store.delete(key);
    }
  }

  /** Stores bytes under a name that their content decides. What else lies there is damaged, and is replaced. */
  async createExactly(key: string, body: Uint8Array): Promise<void> {
    if ((await this.#store.create(key, body)) === "created") return;
    const stored = await this.#readOrDamaged(key);
    if (stored === undefined || stored === "damaged" || Buffer.compare(stored, body) !== 0) await this.#store.put(key, body);
  }

  /** "damaged" where the store itself knows that the bytes are not those that were written, and does not give them. */
  async #readOrDamaged(key: string): Promise<Uint8Array | "damaged" | undefined> {
    try {
      return await this.#store.read(key);
    } catch (error) {
      if (error instanceof CodedError && error.code === "OBJECT_CORRUPT") return "damaged";
      throw error;
    }
  }

  #shardKey(sha256: string): string {
    return `${this.#folder}/shards/${sha256}.arrow`;
  }

  #thumbnailsKey(sha256: string): string {
    return `${this.#folder}/thumbnails/${sha256}.arrow`;
  }
}
