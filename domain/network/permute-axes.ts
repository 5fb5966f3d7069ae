import type { Shape, Tensor } from "./network.js";

/** The shape after `permuteAxes`. */
export function permutedShape(shape: Shape, axes: readonly number[]): Shape {
  return axes.map((axis) => shape[axis] ?? 0);
}

/** The same values with their axes in another order: axis i of the result is axis `axes[i]` of the tensor. [2, 3, 1, 0] makes the [h, w, in, out] kernel of [out, in, h, w]. */
export function permuteAxes({ shape, data }: Tensor, axes: readonly number[]): Tensor {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  const turned = permutedShape(shape, axes);
  const steps = axes.map((axis) => strides[axis]!);
  const last = turned.length - 1;
  const [width = 1, step = 1] = [turned[last], steps[last]];

  const result = new Float32Array(data.length);
  const position = new Array<number>(turned.length).fill(0);
  let from = 0;
  for (let to = 0; to < result.length; to += width) {
    for (let i = 0; i < width; i++) result[to + i] = data[from + i * step]!;
    // The next row: an axis that is through starts again, and the one before it goes on.
    for (let axis = last - 1; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++position[axis]! < turned[axis]!) break;
      from -= steps[axis]! * turned[axis]!;
      position[axis] = 0;
    }
  }
  return { shape: turned, data: result };
}
