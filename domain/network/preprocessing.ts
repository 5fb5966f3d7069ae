import { CodedError } from "../errors.js";

/** How a picture becomes the input of a backbone. It belongs to the backbone and is part of its digest; a job may override it. */
export interface Preprocessing {
  /** Height and width of the network's input in pixels. */
  readonly size: number;
  /** STRETCH: to resizeTo x resizeTo, aspect ignored. SHORT_SIDE: the short side to `resizeTo`. Then the centre `size` x `size`. Bilinear, as in the original recipes. */
  readonly resize: "STRETCH" | "SHORT_SIDE";
  /** In pixels, at least `size`. */
  readonly resizeTo: number;
  readonly channels: "RGB" | "BGR";
  /** Per channel in the order of `channels`: value = (pixel - mean) / deviation, with pixels from 0 to 255. */
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/**
 * A backbone's preprocessing with what a job or a user says instead. Where that has another size but no `resizeTo`, as large a part of the picture stays in sight as before;
 * with another kind of resizing all of what it keeps: `resizeTo` is the size.
 * @throws CodedError SPEC_INVALID where the resized picture would be smaller than what is cut out of it.
 */
export function settledPreprocessing(own: Preprocessing, overrides: Partial<Preprocessing> = {}): Preprocessing {
  const { size, resize } = { ...own, ...overrides };
  const usualResizeTo = resize === own.resize ? Math.round((size * own.resizeTo) / own.size) : size;
  const resizeTo = overrides.resizeTo ?? usualResizeTo;
  if (resizeTo >= size) return { ...own, ...overrides, resizeTo };
  throw new CodedError(
    "SPEC_INVALID",
    `preprocessing.resizeTo: must be at least the size (${size}), found ${resizeTo}; give a resizeTo that goes with the size, or none`,
  );
}

/** `x / 127.5 - 1`: MobileNet, Inception and ResNet v2 of Keras. */
export const scaledToOne: Pick<Preprocessing, "channels" | "mean" | "deviation"> = {
  channels: "RGB",
  mean: [127.5, 127.5, 127.5],
  deviation: [127.5, 127.5, 127.5],
};
