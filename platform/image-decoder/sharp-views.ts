import assert from "node:assert/strict";
import sharp, { type Matrix3x3, type Sharp } from "sharp";
import { cosPi, sinPi } from "../../domain/exact-math.js";
import type { ColorChange, Movement, PictureWindow, ViewDraw } from "../../domain/features/views.js";

/** 8-bit sRGB pixels in memory, `[height, width, 3]`. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/**
 * One view, `[size, size, 3]`. `base` is the whole picture where the view has a window, else the plain picture of `size` x `size`.
 * In a fixed order: window and resize; movement; flips; colours. Each hands 8-bit pixels to the next.
 * @param kernel the plain picture's
 */
export async function renderView(base: Pixels, draw: ViewDraw, size: number, kernel: "linear"): Promise<Uint8Array> {
  let view = opened(base);
  if (draw.window !== undefined) view = view.extract(wholePixels(draw.window, base)).resize(size, size, { fit: "fill", kernel });
  if (draw.movement !== undefined) view = await moved(view, draw.movement, size);
  view = view.flop(draw.flippedHorizontally).flip(draw.flippedVertically);
  if (draw.color !== undefined) view = recoloured(view, draw.color);
  const { data, width, height } = await pixelsOf(view);
  assert.deepEqual([width, height], [size, size], "a view is size x size");
  return data;
}

/** What a chain of operations gives. */
export async function pixelsOf(picture: Sharp): Promise<Pixels> {
  const { data, info } = await picture.toColourspace("srgb").raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  assert.equal(info.channels, 3, "sharp gives RGB");
  return { data, width: info.width, height: info.height };
}

function opened({ data, width, height }: Pixels): Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** The window in pixels, at least one each way. */
function wholePixels(window: PictureWindow, { width, height }: Pixels): PictureWindow {
  const columns = Math.max(1, Math.round(window.width * width));
  const rows = Math.max(1, Math.round(window.height * height));
  return {
    left: Math.min(Math.round(window.left * width), width - columns),
    top: Math.min(Math.round(window.top * height), height - rows),
    width: columns,
    height: rows,
  };
}

/**
 * libvips fills what comes in over an edge with one colour, so the picture is extended by its own edge first, as far as the view can see. sharp orders the operations of one chain
 * itself (affine, then extend, and extract before both), so each needs a chain of its own.
 */
async function moved(picture: Sharp, { degrees, shift, zoom }: Movement, size: number): Promise<Sharp> {
  const [cos, sin] = [cosPi(degrees / 180), sinPi(degrees / 180)];
  const toRight: [number, number] = [zoom.x * cos, -zoom.x * sin];
  const downwards: [number, number] = [zoom.y * sin, zoom.y * cos];
  const centre = (size - 1) / 2;

  // 1. How far beyond the picture the corners of the view look: the way back from view to picture.
  const reach = Math.max(
    ...[-1, 1].flatMap((right) =>
      [-1, 1].flatMap((down) => {
        const x = (right * centre) / zoom.x - shift.x * size;
        const y = (down * centre) / zoom.y - shift.y * size;
        return [Math.abs(cos * x + sin * y), Math.abs(cos * y - sin * x)];
      }),
    ),
  );
  // One pixel more, so that the picture is not smaller than the view when its sides are rounded at a quarter of its size.
  const margin = Math.max(0, Math.ceil(reach - centre)) + 1;
  const side = size + 2 * margin;
  const extended = await pixelsOf(picture.extend({ top: margin, bottom: margin, left: margin, right: margin, extendWith: "copy" }));

  // 2. Pixel (0, 0) of what libvips returns is the upper left corner of the box round the turned and magnified picture, rounded; from there on offsets count. So chosen, the view begins there.
  const boxStart = ([a, b]: readonly [number, number]): number => -Math.round(-Math.min(0, a * side, b * side, (a + b) * side));
  const turned = await pixelsOf(
    opened(extended).affine([toRight, downwards], {
      idx: -(margin + centre),
      idy: -(margin + centre),
      odx: boxStart(toRight) + centre + zoom.x * shift.x * size,
      ody: boxStart(downwards) + centre + zoom.y * shift.y * size,
      interpolator: "bilinear",
    }),
  );

  // 3. The view out of it.
  return opened(turned).extract({ left: 0, top: 0, width: size, height: size });
}

/** Weights of red, green and blue in the grey of a pixel (ITU-R BT.601). */
const GREY = [0.299, 0.587, 0.114] as const;

/** The middle of the range, about which contrast spreads. */
const MID_GREY = 127.5;

function recoloured(picture: Sharp, { brightness, contrast, saturation }: ColorChange): Sharp {
  // Half a level more, for libvips cuts off what is behind the point.
  const [factor, offset] = [contrast * brightness, (1 - contrast) * MID_GREY + 0.5];
  if (saturation === 1) return picture.linear(factor, offset);
  const row = (channel: number): [number, number, number] => [
    (1 - saturation) * GREY[0] + (channel === 0 ? saturation : 0),
    (1 - saturation) * GREY[1] + (channel === 1 ? saturation : 0),
    (1 - saturation) * GREY[2] + (channel === 2 ? saturation : 0),
  ];
  const mixing: Matrix3x3 = [row(0), row(1), row(2)];
  return picture.recomb(mixing).linear(factor, offset);
}
