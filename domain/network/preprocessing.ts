import { CodedError } from "../errors.js";

/** How a picture becomes the input of a backbone. It belongs to the backbone and is part of its digest; a job may override it. */
export interface Preprocessing {
  /** Height and width of the network's input in pixels. */
  readonly size: number;
  /** STRETCH: to size x size, aspect ignored. SHORT_SIDE: the short side to `resizeTo`, then the centre `size` x `size`. Bilinear, as in the original recipes. */
  readonly resize: "STRETCH" | "SHORT_SIDE";
  /** Only with SHORT_SIDE: length of the short side in pixels, at least `size`. */
  readonly resizeTo: number;
  readonly channels: "RGB" | "BGR";
  /** Per channel in the order of `channels`: value = (pixel - mean) / deviation, with pixels from 0 to 255. */
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/**
 * Ready to be used: `resizeTo`, which means something for SHORT_SIDE only, is the size otherwise, so that equal preprocessing has equal digests.
 * @throws CodedError SPEC_INVALID where the resized picture would be smaller than what is cut out of it.
 */
export function settledPreprocessing(preprocessing: Preprocessing): Preprocessing {
  const { size, resize, resizeTo } = preprocessing;
  if (resize === "STRETCH") return { ...preprocessing, resizeTo: size };
  if (resizeTo >= size) return preprocessing;
  throw new CodedError(
    "SPEC_INVALID",
    `preprocessing.resizeTo: must be at least the size (${size}), found ${resizeTo}; give a resizeTo that goes with the size, or resize: STRETCH`,
  );
}

/** `x / 127.5 - 1`: MobileNet, Inception and ResNet v2 of Keras. */
export const scaledToOne: Pick<Preprocessing, "channels" | "mean" | "deviation"> = {
  channels: "RGB",
  mean: [127.5, 127.5, 127.5],
  deviation: [127.5, 127.5, 127.5],
};
