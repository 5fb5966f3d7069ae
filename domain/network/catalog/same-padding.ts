import type { Padding, Pair } from "../network.js";

export const noPadding: Padding = { top: 0, bottom: 0, left: 0, right: 0 };

export function equalPaddings(a: Padding, b: Padding): boolean {
  return a.top === b.top && a.bottom === b.bottom && a.left === b.left && a.right === b.right;
}

/**
 * TensorFlow's "SAME": the output is ceil(size / stride) long, and of an odd amount the bottom and right get the larger part.
 * https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
 */
export function samePadding(size: Pair, kernel: Pair, strides: Pair): Padding {
  const along = (axis: 0 | 1): number =>
    Math.max(0, (Math.ceil(size[axis] / strides[axis]) - 1) * strides[axis] + kernel[axis] - size[axis]);
  const top = Math.floor(along(0) / 2);
  const left = Math.floor(along(1) / 2);
  return { top, bottom: along(0) - top, left, right: along(1) - left };
}
