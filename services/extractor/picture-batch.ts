import type { ImageId } from "../../domain/features/feature-spec.js";
import { elementCount } from "../../domain/network/network.js";
import { limits } from "../../domain/limits.js";
import type { ExtractionContext } from "./extract-task.js";
import type { FeatureCollectors } from "./feature-collector.js";
import type { DecodedPicture, DecodedView } from "./prepare-picture.js";

/** What was done: calls of the engine, and pictures whose last view is through. */
export interface BatchesRun {
  readonly calls: number;
  readonly pictures: number;
}

/** Decoded views on their way through the frozen network, in batches; where pixels are the features, past it. */
export class PictureBatch {
  private readonly context: ExtractionContext;
  private readonly collectors: FeatureCollectors;
  private readonly pending: (DecodedView & { readonly imageId: ImageId; readonly last: boolean })[] = [];
  private pixels: Uint8Array | undefined;

  constructor(context: ExtractionContext, collectors: FeatureCollectors) {
    this.context = context;
    this.collectors = collectors;
  }

  /** Takes in a picture's views and runs what fills whole batches. */
  async add({ imageId, views }: DecodedPicture): Promise<BatchesRun> {
    if (this.context.forward === undefined) {
      for (const { view, pixels, thumbnail } of views) await this.collectors.add(view, imageId, pixels, thumbnail);
      return { calls: 1, pictures: 1 };
    }
    const done = { calls: 0, pictures: 0 };
    for (const [index, view] of views.entries()) {
      this.pending.push({ ...view, imageId, last: index === views.length - 1 });
      if (this.pending.length < limits.forwardBatch) continue;
      done.pictures += await this.run();
      done.calls++;
    }
    return done;
  }

  /** Runs the rest. */
  async finish(): Promise<BatchesRun> {
    return this.pending.length === 0 ? { calls: 0, pictures: 0 } : { calls: 1, pictures: await this.run() };
  }

  /** Runs what is pending and hands the features on; returns how many pictures it ends. */
  private async run(): Promise<number> {
    const forward = await this.context.forward!();
    const views = this.pending.splice(0);
    const pictureBytes = views[0]!.pixels.length;
    this.pixels ??= new Uint8Array(limits.forwardBatch * pictureBytes);
    for (const [position, { pixels }] of views.entries()) this.pixels.set(pixels, position * pictureBytes);
    const output = await forward.run(this.pixels.subarray(0, views.length * pictureBytes), views.length);
    const elements = elementCount(this.context.featureShape);
    for (const [position, { view, imageId, thumbnail }] of views.entries())
      await this.collectors.add(view, imageId, output.subarray(position * elements, (position + 1) * elements), thumbnail);
    return views.filter(({ last }) => last).length;
  }
}
