import type { ImageId } from "../../domain/features/feature-spec.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { limits } from "../../domain/limits.js";

/** Asks the coordinator: one byte, 0 or 1, for each of `imageIds` (`[n, 32]`). */
export type Lookup = (imageIds: Uint8Array, view: number) => Promise<Uint8Array>;

interface Question {
  readonly imageId: ImageId;
  readonly answer: (isKept: boolean) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * Which features exist already. An extractor holds no index of them, which may have millions of entries: it asks the coordinator, one call after another for each view, each for all pictures that came up
 * while the last one was under way.
 */
export class KeptFeatures {
  private readonly lookup: Lookup;
  private readonly questions = new Map<number, Question[]>();
  private readonly asking = new Set<number>();

  constructor(lookup: Lookup) {
    this.lookup = lookup;
  }

  /** Those of the first `views` views of a picture that have no features. */
  async missingViews(imageId: ImageId, views: number): Promise<number[]> {
    const kept = await Promise.all(Array.from({ length: views }, (_, view) => this.isKept(imageId, view)));
    return kept.flatMap((isKept, view) => (isKept ? [] : [view]));
  }

  private isKept(imageId: ImageId, view: number): Promise<boolean> {
    const questions = this.questions.get(view) ?? [];
    this.questions.set(view, questions);
    const answered = new Promise<boolean>((answer, fail) => questions.push({ imageId, answer, fail }));
    if (!this.asking.has(view)) void this.ask(view, questions);
    return answered;
  }

  private async ask(view: number, questions: Question[]): Promise<void> {
    this.asking.add(view);
    await Promise.resolve(); // pictures that come up together are asked for together
    while (questions.length > 0) {
      const asked = questions.splice(0, limits.lookupImageIds);
      try {
        const kept = await this.lookup(imageIdBytes(asked.map(({ imageId }) => imageId)), view);
        for (const [index, { answer }] of asked.entries()) answer(kept[index] === 1);
      } catch (error) {
        for (const { fail } of asked) fail(error);
      }
    }
    this.asking.delete(view);
  }
}
