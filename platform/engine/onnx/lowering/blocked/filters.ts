import type { Value } from "../../../../../domain/network/gradient/program.js";
import type { Pair } from "../../../../../domain/network/network.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import { transposed } from "../portable/layouts.js";
import type { Walk } from "../walk.js";
import { gather } from "./gather.js";
import { blockedChannels, filledUp, nchwcDomain } from "./layouts.js";

/** `[C', in', h, w]` of a kernel `[h, w, in, C]`, in the order in which a blocked convolution reads it: `[C' / B, in' / B, h, w, B of in, B of C]`. */
export function forwardFilter(walk: Walk, kernel: Value, block: number): string {
  return walk.derived(kernel, "blocked", () => {
    const { graph } = walk;
    const [height = 0, width = 0] = kernel.shape;
    const { taps, into, out, squares } = squaresOf(walk, kernel, block, "forward");
    const numberOf = (o: number, i: number, tap: number): number => (o * taps + tap) * into + i;
    const ordered = taps === 1 ? squares : orderedSquares(graph, squares, `forward/${kernel.shape.join("x")}`, [out, into, taps], numberOf);
    return graph.node("Reshape", [ordered, graph.integers([out * block, into * block, height, width])]);
  });
}

/** The filter of the way back: channels in and out change places, and taps are turned round. Of every `strides`-th tap from `first` on, `count` of them. */
export function backwardFilter(
  walk: Walk,
  kernel: Value,
  block: number,
  { first, strides, count }: TapsOf = { first: [0, 0], strides: [1, 1], count: [kernel.shape[0] ?? 0, kernel.shape[1] ?? 0] },
): string {
  const key = [...kernel.shape, ...first, ...strides, ...count].join("x");
  return walk.derived(kernel, `blocked, backward ${key}`, () => {
    const { graph } = walk;
    const { into, out, squares } = squaresOf(walk, kernel, block, "backward");
    const numbers = Array.from({ length: count[0] * count[1] }, (_, place) => {
      const [row, column] = [count[0] - 1 - Math.floor(place / count[1]), count[1] - 1 - (place % count[1])];
      return (first[0] + row * strides[0]) * (kernel.shape[1] ?? 0) + first[1] + column * strides[1];
    });
    const numberOf = (i: number, o: number, tap: number): number => ((numbers[tap] ?? 0) * into + i) * out + o;
    const isInOrder = kernel.shape[0] === 1 && kernel.shape[1] === 1;
    const ordered = isInOrder ? squares : orderedSquares(graph, squares, `backward/${key}`, [into, out, numbers.length], numberOf);
    return graph.node("Reshape", [ordered, graph.integers([into * block, out * block, ...count])]);
  });
}

/** Some of a kernel's taps. */
export interface TapsOf {
  readonly first: Pair;
  readonly strides: Pair;
  readonly count: Pair;
}

/**
 * A kernel in squares of block x block numbers, `[…, B x B]`, counted in blocks: forward `[C / B, taps, in / B]`, each B of in by B of C; backward `[taps, in / B, C / B]`, each B of C by B of in.
 * ReorderInput turns each square, on all threads: forward, taps and channels in are the places of a picture; backward, channels out are, and each tap is a picture.
 */
function squaresOf(
  walk: Walk,
  kernel: Value,
  block: number,
  way: "forward" | "backward",
): { readonly taps: number; readonly into: number; readonly out: number; readonly squares: string } {
  const { graph } = walk;
  const [height = 0, width = 0, channelsIn = 0, channelsOut = 0] = kernel.shape;
  const taps = height * width;
  const [allIn, allOut] = [blockedChannels(channelsIn, block), blockedChannels(channelsOut, block)];
  const isForward = way === "forward";
  const squares = walk.derived(kernel, `blocked, squares ${way}`, () => {
    // A parameter is an input of the graph, and Reshape of an input is a copy: one, for both ways.
    const flat = walk.derived(kernel, "filled up", () => {
      const filled = filledUp(graph, walk.as(kernel, "plain"), kernel.shape, [height, width, allIn, allOut]);
      return graph.node("Reshape", [filled, graph.integers([-1])]);
    });
    const picture = graph.node("Reshape", [flat, graph.integers(isForward ? [1, taps * allIn, 1, allOut] : [taps, allIn, allOut, 1])]);
    const reordered = graph.node("ReorderInput", [picture], { channels_last: { int: isForward ? 1 : 0 } }, undefined, nchwcDomain);
    return graph.node("Reshape", [reordered, graph.integers([-1, block * block])]);
  });
  return { taps, into: allIn / block, out: allOut / block, squares };
}

/** Squares `[a, b, taps]` by their numbers. */
function orderedSquares(
  graph: GraphBuilder,
  squares: string,
  key: string,
  [a, b, taps]: readonly [number, number, number],
  numberOf: (a: number, b: number, tap: number) => number,
): string {
  return gather(graph, squares, key, [a, b, taps], (numbers) => {
    let next = 0;
    for (let i = 0; i < a; i++) for (let j = 0; j < b; j++) for (let tap = 0; tap < taps; tap++) numbers[next++] = numberOf(i, j, tap);
  });
}

/** The filter of a convolution whose input is plain NCHW, of fewer channels than a block: `[C' / B, in, h, w, B of C]`. */
export function filterOfPlainInput(walk: Walk, kernel: Value, block: number): string {
  return walk.derived(kernel, "blocked, of plain input", () => {
    const { graph } = walk;
    const [height = 0, width = 0, channelsIn = 0, channelsOut = 0] = kernel.shape;
    const out = blockedChannels(channelsOut, block);
    const filled = filledUp(graph, walk.as(kernel, "plain"), kernel.shape, [height, width, channelsIn, out]);
    const blocks = graph.node("Reshape", [filled, graph.integers([height * width, channelsIn, out / block, block])]);
    return graph.node("Reshape", [transposed(graph, blocks, [2, 1, 0, 3]), graph.integers([out, channelsIn, height, width])]);
  });
}

/** `[C', 1, h, w]` of a kernel `[h, w, C, 1]` that is for each channel alone: `[C' / B, h, w, B]`. */
export function channelFilter(walk: Walk, kernel: Value, block: number, way: "forward" | "backward"): string {
  return walk.derived(kernel, `blocked, each, ${way}`, () => {
    const { graph } = walk;
    const [height = 0, width = 0, channels = 0] = kernel.shape;
    const all = blockedChannels(channels, block);
    const taps = way === "forward" ? walk.as(kernel, "plain") : turned(walk, kernel);
    const filled = filledUp(graph, taps, kernel.shape, [height, width, all, 1]);
    const blocks = graph.node("Reshape", [filled, graph.integers([height * width, all / block, block])]);
    return graph.node("Reshape", [transposed(graph, blocks, [1, 0, 2]), graph.integers([all, 1, height, width])]);
  });
}

/** One number a channel `[C]`, filled up to whole blocks. */
export function blockedVector(walk: Walk, vector: Value, block: number): string {
  return walk.derived(vector, "blocked", () => {
    const [channels = 0] = vector.shape;
    return filledUp(walk.graph, walk.as(vector, "plain"), [channels], [blockedChannels(channels, block)]);
  });
}

/** One number a channel as the filter of a convolution 1x1 of each channel alone. */
export function vectorFilter(walk: Walk, vector: Value, block: number): string {
  return walk.derived(vector, "blocked filter", () => {
    const all = blockedChannels(vector.shape[0] ?? 0, block);
    return walk.graph.node("Reshape", [blockedVector(walk, vector, block), walk.graph.integers([all, 1, 1, 1])]);
  });
}

/** A kernel with its taps from the last to the first. */
function turned(walk: Walk, kernel: Value): string {
  const name = walk.as(kernel, "plain");
  if (kernel.shape[0] === 1 && kernel.shape[1] === 1) return name;
  const { graph } = walk;
  const last = -(2 ** 31);
  const slice = [[-1, -1], [last, last], [0, 1], [-1, -1]]; // prettier-ignore
  return graph.node("Slice", [name, ...slice.map((values) => graph.integers(values))]);
}
