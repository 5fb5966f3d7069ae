import type { Value } from "../../../../../domain/network/gradient/program.js";
import { elementCount, type Shape } from "../../../../../domain/network/network.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Walk } from "../walk.js";
import { channelsOf } from "../portable/windows.js";
import { blockedChannels } from "./layouts.js";

/** Stands for a place outside of the picture: what is gathered from there is 0. */
export const outside = -1;

/** A blocked picture, and one block of zeros after its last. */
export interface Blocks {
  readonly name: string;
  readonly count: number;
}

/** The blocks of a picture with `rows` rows, `[rows x C' / B x h x w + 1, B]`. */
export function blocksOf(graph: GraphBuilder, picture: string, { shape: [height = 0, width = 0, channels = 0] }: Value, rows: number, block: number): Blocks {
  const count = (rows * blockedChannels(channels, block) * height * width) / block;
  const blocks = graph.node("Reshape", [picture, graph.integers([count, block])]);
  const zeros = graph.floats(`zeros/1x${block}`, [1, block], new Float32Array(block));
  return { name: graph.node("Concat", [blocks, zeros], { axis: { int: 0 } }), count };
}

/**
 * Blocks by their numbers, `[...shape, B]`. Gather copies on all threads, where Pad, Slice and Concat have one; and one pass does for a shift, for zeros around or between places, and for another order.
 * `numberOf` gives the number of each block of the result, or `outside`; `key` names what it depends on.
 */
export function gatherBlocks(graph: GraphBuilder, { name, count }: Blocks, key: string, shape: Shape, fill: (numbers: Int32Array) => void): string {
  const constant = `blocks/${key}`;
  if (!graph.hasConstant(constant)) {
    const numbers = new Int32Array(elementCount(shape));
    fill(numbers);
    graph.indices(constant, shape, numbers.map((number) => (number === outside ? count : number)));
  }
  return graph.node("Gather", [name, constant], { axis: { int: 0 } });
}

/** For each row of the call and each place of `to`, one after another, and each of `taps`: all blocks of channels of the picture at the place that the tap sees. */
export function gatherTaps(
  walk: Walk,
  picture: string,
  value: Value,
  rows: number,
  block: number,
  to: readonly [height: number, width: number],
  taps: readonly Tap[],
): string {
  const { graph } = walk;
  const [height = 0, width = 0] = value.shape;
  const depth = blockedChannels(channelsOf(value), block) / block;
  const shape = [rows * to[0] * to[1], taps.length, depth];
  const key = JSON.stringify([rows, height, width, depth, to, taps]);
  const gathered = gatherBlocks(graph, blocksOf(graph, picture, value, rows, block), key, shape, (numbers) => {
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
