import type { Value } from "../../../../../domain/network/gradient/program.js";
import type { Pair, Shape } from "../../../../../domain/network/network.js";
import { transposed } from "../portable/layouts.js";
import type { Walk } from "../walk.js";
import { blockedChannels, filledUp, nchwcDomain } from "./layouts.js";

/** `[C', in', h, w]` of a kernel `[h, w, in, C]`, in the order in which a blocked convolution reads it: `[C' / B, in' / B, h, w, B of in, B of C]`. */
export function forwardFilter(walk: Walk, kernel: Value, block: number): string {
  return walk.derived(kernel, "blocked", () => blockedFilter(walk, kernel.shape, walk.as(kernel, "plain"), block, "forward"));
}

/** The filter of the way back: channels in and out change places, and taps are turned round. */
export function backwardFilter(walk: Walk, kernel: Value, block: number): string {
  return walk.derived(kernel, "blocked, backward", () => blockedFilter(walk, kernel.shape, turned(walk, kernel), block, "backward"));
}

/** The filter of the way back of every `strides`-th tap from `first` on, `count` of them. */
export function backwardFilterOfTaps(walk: Walk, kernel: Value, first: Pair, strides: Pair, count: Pair, block: number): string {
  return walk.derived(kernel, `blocked, backward, taps from ${first.join("x")}`, () => {
    const { graph } = walk;
    const lasts = first.map((tap, axis) => tap + ((count[axis] ?? 0) - 1) * (strides[axis] ?? 1));
    const ends = first.map((tap) => (tap === 0 ? -(2 ** 31) : tap - 1));
    const slice = [lasts, ends, [0, 1], strides.map((stride) => -stride)].map((values) => graph.integers(values));
    const taps = graph.node("Slice", [walk.as(kernel, "plain"), ...slice]);
    return blockedFilter(walk, [...count, ...kernel.shape.slice(2)], taps, block, "backward");
  });
}

/** The innermost reordering is left to ReorderInput, which runs on all threads; the transposition then moves whole squares of block x block numbers. */
function blockedFilter(walk: Walk, shape: Shape, taps: string, block: number, way: "forward" | "backward"): string {
  const { graph } = walk;
  const [height = 0, width = 0, channelsIn = 0, channelsOut = 0] = shape;
  const count = height * width;
  const [into, out] = [blockedChannels(channelsIn, block), blockedChannels(channelsOut, block)];
  const filled = filledUp(graph, taps, shape, [height, width, into, out]);
  const isForward = way === "forward";
  // Forward, taps and channels in are the places of a picture; backward, channels out are the places of a picture for each tap.
  const asPicture = graph.node("Reshape", [filled, graph.integers(isForward ? [1, count * into, 1, out] : [count, into, out, 1])]);
  const reordered = graph.node("ReorderInput", [asPicture], { channels_last: { int: isForward ? 1 : 0 } }, undefined, nchwcDomain);
  const square = block * block;
  const squares = isForward ? [out / block, count, into / block, square] : [count, into / block, out / block, square];
  const blocks = graph.node("Reshape", [reordered, graph.integers(squares)]);
  const ordered = count === 1 ? blocks : transposed(graph, blocks, isForward ? [0, 2, 1, 3] : [1, 2, 0, 3]);
  const [first, second] = isForward ? [out, into] : [into, out];
  return graph.node("Reshape", [ordered, graph.integers([first, second, height, width])]);
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
