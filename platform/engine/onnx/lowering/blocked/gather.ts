import type { Value } from "../../../../../domain/network/gradient/program.js";
import { elementCount, type Shape } from "../../../../../domain/network/network.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Walk } from "../walk.js";
import { channelsOf } from "../portable/windows.js";
import { blockedChannels } from "./layouts.js";

/** The blocks of a picture with `rows` rows, and a block of zeros after the last: what lies outside. */
export function blocksOf(
  graph: GraphBuilder,
  picture: string,
  { shape: [height = 0, width = 0, channels = 0] }: Pick<Value, "shape">,
  rows: number,
  block: number,
): { readonly name: string; readonly count: number } {
  const count = (rows * blockedChannels(channels, block) * height * width) / block;
  const blocks = graph.node("Reshape", [picture, graph.integers([count, block])]);
  const zeros = graph.floats(`zeros/1x${block}`, [1, block], new Float32Array(block));
  return { name: graph.node("Concat", [blocks, zeros], { axis: { int: 0 } }), count };
}

/**
 * Entries of the first axis by their numbers, `[...shape, …]`. Gather copies on all threads, where Pad, Slice, Concat and Transpose have one; and one pass does for a shift, for zeros around or between
 * places, and for another order. `fill` writes the number of each entry of the result; `key` names what they depend on.
 */
export function gather(graph: GraphBuilder, name: string, key: string, shape: Shape, fill: (numbers: Int32Array) => void): string {
  const constant = `numbers/${key}`;
  if (!graph.hasConstant(constant)) {
    const numbers = new Int32Array(elementCount(shape));
    fill(numbers);
    graph.indices(constant, shape, numbers);
  }
  return graph.node("Gather", [name, constant], { axis: { int: 0 } });
}

/** Of a grain's picture, for each row and each place of `to`, one after another, and each of `taps`: all blocks of channels of the picture at the place that the tap sees. */
export function gatherTaps(
  walk: Walk,
  picture: string,
  value: Value,
  block: number,
  to: readonly [height: number, width: number],
  taps: readonly Tap[],
): string {
  const { graph } = walk;
  const rows = walk.options.grainRows;
  const [height = 0, width = 0] = value.shape;
  const depth = blockedChannels(channelsOf(value), block) / block;
  const shape = [rows * to[0] * to[1], taps.length, depth];
  const key = JSON.stringify([rows, height, width, depth, to, taps]);
  const { name, count: outside } = blocksOf(graph, picture, value, rows, block);
  const gathered = gather(graph, name, key, shape, (numbers) => {
    let next = 0;
    for (let row = 0; row < rows; row++)
      for (let h = 0; h < to[0]; h++)
        for (let w = 0; w < to[1]; w++)
          for (const { start, strides } of taps) {
            const [y, x] = [h * strides[0] + start[0], w * strides[1] + start[1]];
            const isInside = y >= 0 && y < height && x >= 0 && x < width;
            for (let c = 0; c < depth; c++) numbers[next++] = isInside ? ((row * depth + c) * height + y) * width + x : outside;
          }
  });
  return graph.node("Reshape", [gathered, graph.integers([rows * to[0] * to[1], taps.length * depth * block])]);
}

/** Where a tap of a window sees the picture: at place p, p x strides + start. */
export interface Tap {
  readonly start: readonly [number, number];
  readonly strides: readonly [number, number];
}
