import assert from "node:assert";
import { exactExp, exactLog } from "../exact-math.js";
import { randomKey, RandomStream } from "../random.js";
import type { ImageId } from "./feature-spec.js";

/** Grows with every change of the draws below, or of how they become pixels: views of another revision are others. */
export const VIEWS_REVISION = 1;

/**
 * How views > 0 differ from the plain picture; every field is settled, an absent kind is undefined. Part of the feature spec of views.
 * At most one of the crops. Either of them takes its part of the whole picture straight to the network's size; without one a view starts from the plain picture.
 */
export interface Augmentation {
  /** Share of the area of the picture; width / height of the part in pixels (RandomResizedCrop of torchvision and Gluon). */
  readonly randomResizedCrop?:
    { readonly minScale: number; readonly maxScale: number; readonly minAspect: number; readonly maxAspect: number } | undefined;
  /** The distortions of TensorFlow's "retrain": stretched, enlarged by (1 + margin/100) * U(1, 1 + scale/100), then a random window of the network's size. */
  readonly randomCrop?: { readonly marginPercent: number; readonly scalePercent: number } | undefined;
  /** Left and right change places in half of the views. */
  readonly horizontalFlip: boolean;
  /** Top and bottom change places in half of the views. */
  readonly verticalFlip: boolean;
  /** Turned by U(-max, max) degrees. This and the next two as in Keras' ImageDataGenerator, with `fill_mode="nearest"`. */
  readonly rotation?: { readonly maxDegrees: number } | undefined;
  /** Moved by U(-max, max) of the side. */
  readonly shift?: { readonly maxWidth: number; readonly maxHeight: number } | undefined;
  /** Factor of magnification, drawn for each side by itself; above 1 things look larger. */
  readonly zoom?: { readonly min: number; readonly max: number } | undefined;
  /** A factor in [1 - x, 1 + x] each. */
  readonly color?: { readonly brightness: number; readonly contrast: number; readonly saturation: number } | undefined;
}

/** One drawn view; geometry in shares of the picture, so that it does not depend on how it is decoded. The parts apply in this order. */
export interface ViewDraw {
  /** The part of the picture that becomes the view, in shares of width and height from the left and upper edge; undefined: the plain picture. */
  readonly window: PictureWindow | undefined;
  /** Undefined: nothing moves. */
  readonly movement: Movement | undefined;
  readonly flippedHorizontally: boolean;
  readonly flippedVertically: boolean;
  /** Undefined: the colours stay. */
  readonly color: ColorChange | undefined;
}

export interface PictureWindow {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** About the centre of the view: turned, then shifted, then magnified. What comes in over an edge repeats the nearest pixel. */
export interface Movement {
  /** Clockwise. */
  readonly degrees: number;
  /** To the right and downwards, in shares of the side. */
  readonly shift: { readonly x: number; readonly y: number };
  /** Factors of magnification. */
  readonly zoom: { readonly x: number; readonly y: number };
}

/** Factors. In one step, so that nothing is cut off in between: pixel p of grey g becomes `contrast * (brightness * (g + saturation * (p - g)) - 127.5) + 127.5`. */
export interface ColorChange {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
}

/**
 * What view `view` (>= 1) of a picture is. `picture` is its size as it is seen, in any unit: only its aspect counts.
 * Pure, and each kind draws from numbers of its own, so that neither order of work nor another kind beside it changes what a kind draws.
 */
export function drawView(
  augmentation: Augmentation,
  imageId: ImageId,
  view: number,
  picture: { readonly width: number; readonly height: number },
): ViewDraw {
  assert(Number.isSafeInteger(view) && view >= 1, `views are drawn from number 1 on, got ${view}`);
  const { randomResizedCrop, randomCrop, horizontalFlip, verticalFlip, color } = augmentation;
  assert(randomResizedCrop === undefined || randomCrop === undefined, "the two crops exclude each other");
  const numbersOf = (kind: keyof Augmentation): RandomStream => new RandomStream(randomKey(0, `view ${kind}\n${imageId}`), view);
  return {
    window: randomResizedCrop
      ? resizedCropWindow(randomResizedCrop, picture, numbersOf("randomResizedCrop"))
      : randomCrop && cropWindow(randomCrop, numbersOf("randomCrop")),
    movement: drawMovement(augmentation, numbersOf),
    flippedHorizontally: horizontalFlip && numbersOf("horizontalFlip").below(2) === 1,
    flippedVertically: verticalFlip && numbersOf("verticalFlip").below(2) === 1,
    color: color && drawColor(color, numbersOf("color")),
  };
}

/** Uniform in [min, max). */
function uniform(min: number, max: number, numbers: RandomStream): number {
  return min + (max - min) * numbers.uniform();
}

/** Torchvision's RandomResizedCrop tries this often to find a part of the drawn area and aspect that fits into the picture. */
const CROP_ATTEMPTS = 10;

/** Area uniform, aspect uniform in its logarithm, place uniform; where ten tries do not fit, the largest centred part whose aspect is allowed. */
function resizedCropWindow(
  { minScale, maxScale, minAspect, maxAspect }: NonNullable<Augmentation["randomResizedCrop"]>,
  picture: { readonly width: number; readonly height: number },
  numbers: RandomStream,
): PictureWindow {
  const pictureAspect = picture.width / picture.height;
  const [minLog, maxLog] = [exactLog(minAspect), exactLog(maxAspect)];
  for (let attempt = 0; attempt < CROP_ATTEMPTS; attempt++) {
    const area = uniform(minScale, maxScale, numbers);
    const aspect = exactExp(uniform(minLog, maxLog, numbers));
    const width = Math.sqrt((area * aspect) / pictureAspect);
    const height = Math.sqrt((area * pictureAspect) / aspect);
    if (width <= 1 && height <= 1) return placed(width, height, numbers);
  }
  const width = Math.min(1, maxAspect / pictureAspect);
  const height = Math.min(1, pictureAspect / minAspect);
  return { left: (1 - width) / 2, top: (1 - height) / 2, width, height };
}

function cropWindow({ marginPercent, scalePercent }: NonNullable<Augmentation["randomCrop"]>, numbers: RandomStream): PictureWindow {
  const side = 1 / ((1 + marginPercent / 100) * uniform(1, 1 + scalePercent / 100, numbers));
  return placed(side, side, numbers);
}

function placed(width: number, height: number, numbers: RandomStream): PictureWindow {
  return { left: uniform(0, 1 - width, numbers), top: uniform(0, 1 - height, numbers), width, height };
}

function drawMovement(
  { rotation, shift, zoom }: Augmentation,
  numbersOf: (kind: "rotation" | "shift" | "zoom") => RandomStream,
): Movement | undefined {
  if (rotation === undefined && shift === undefined && zoom === undefined) return undefined;
  const { maxDegrees } = rotation ?? { maxDegrees: 0 };
  const { maxWidth, maxHeight } = shift ?? { maxWidth: 0, maxHeight: 0 };
  const { min, max } = zoom ?? { min: 1, max: 1 };
  const [ofShift, ofZoom] = [numbersOf("shift"), numbersOf("zoom")];
  return {
    degrees: uniform(-maxDegrees, maxDegrees, numbersOf("rotation")),
    shift: { x: uniform(-maxWidth, maxWidth, ofShift), y: uniform(-maxHeight, maxHeight, ofShift) },
    zoom: { x: uniform(min, max, ofZoom), y: uniform(min, max, ofZoom) },
  };
}

function drawColor({ brightness, contrast, saturation }: NonNullable<Augmentation["color"]>, numbers: RandomStream): ColorChange {
  return {
    brightness: uniform(1 - brightness, 1 + brightness, numbers),
    contrast: uniform(1 - contrast, 1 + contrast, numbers),
    saturation: uniform(1 - saturation, 1 + saturation, numbers),
  };
}
