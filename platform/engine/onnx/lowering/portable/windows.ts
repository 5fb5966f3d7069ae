import { strict as assert } from "node:assert";
import type { Value, Window } from "../../../../../domain/network/gradient/program.js";
import type { Padding, Pair, Shape } from "../../../../../domain/network/network.js";
import type { Attribute, GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Walk } from "../walk.js";

/** What of a window the way back through it sees. */
export interface InputGradientWindow {
  /** Around the places of dy with strides - 1 zeros between them, for a convolution without strides that gives dx. */
  readonly padding: Padding;
  /** Rows and columns of the padded input at the far end that no window reaches. */
  readonly leftOver: Pair;
}

export function inputGradientWindow(input: Shape, output: Shape, { size, strides, padding }: Window): InputGradientWindow {
  const along = (axis: 0 | 1, before: number, after: number): readonly [number, number, number] => {
    const spread = ((output[axis] ?? 0) - 1) * strides[axis] + 1;
    const length = input[axis] ?? 0;
    return [size[axis] - 1 - before, length - spread + before, length + before + after - size[axis] - (spread - 1)];
  };
  const [top, bottom, rows] = along(0, padding.top, padding.bottom);
  const [left, right, columns] = along(1, padding.left, padding.right);
  return { padding: { top, bottom, left, right }, leftOver: [rows, columns] };
}

/**
 * `[rows, channels, h, w]` with `strides` - 1 zeros after each place, and the padding that is still to come so that there is `padding` around the places.
 */
export function spread(
  walk: Walk,
  name: string,
  [height = 0, width = 0, channels = 0]: Shape,
  strides: Pair,
  padding: Padding,
): { readonly name: string; readonly padding: Padding } {
  if (Math.max(...strides) === 1) return { name, padding };
  const { graph, rows } = walk;
  const groups = rows * channels;
  const places = graph.node("Reshape", [name, graph.integers([groups, height, 1, width, 1])]);
  const ends = graph.integers([0, 0, 0, 0, 0, 0, 0, strides[0] - 1, 0, strides[1] - 1]);
  const padded = graph.node("Pad", [places, ends, graph.scalar(0)], { mode: { string: "constant" } });
  const whole = graph.node("Reshape", [padded, graph.integers([rows, channels, height * strides[0], width * strides[1]])]);
  const [bottom, right] = [padding.bottom - (strides[0] - 1), padding.right - (strides[1] - 1)];
  const kept: Pair = [height * strides[0] + Math.min(0, bottom), width * strides[1] + Math.min(0, right)];
  const isWhole = Math.min(bottom, right) >= 0;
  return {
    name: isWhole ? whole : cropped(graph, whole, [0, 0], kept),
    padding: { ...padding, bottom: Math.max(0, bottom), right: Math.max(0, right) },
  };
}

/** `height` x `width` places of `[…, h, w]` from `start` on. */
export function cropped(graph: GraphBuilder, name: string, start: Pair, [height, width]: Pair): string {
  const [starts, ends, axes] = [start, [start[0] + height, start[1] + width], [2, 3]].map((values) => graph.integers(values));
  assert(starts && ends && axes);
  return graph.node("Slice", [name, starts, ends, axes]);
}

export function zeroPadded(graph: GraphBuilder, name: string, layout: "plain" | "nchw", { top, left, bottom, right }: Padding): string {
  if (Math.max(top, left, bottom, right) === 0) return name;
  const pads = layout === "plain" ? [0, top, left, 0, 0, bottom, right, 0] : [0, 0, top, left, 0, 0, bottom, right];
  return graph.node("Pad", [name, graph.integers(pads), graph.scalar(0)], { mode: { string: "constant" } });
}

export function windowAttributes({ size, strides, padding }: Window): Record<string, Attribute> {
  const { top, bottom, left, right } = padding;
  return { kernel_shape: { ints: size }, strides: { ints: strides }, pads: { ints: [top, left, bottom, right] } };
}

export function channelsOf({ shape }: Value): number {
  const channels = shape.at(-1);
  assert(channels !== undefined);
  return channels;
}
