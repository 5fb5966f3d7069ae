import { strict as assert } from "node:assert";
import type { Value, Window } from "../../../../../domain/network/gradient/program.js";
import type { Pair } from "../../../../../domain/network/network.js";
import type { Emitters } from "../lowering.js";
import { sumOverAxes } from "../parameters.js";
import { kernelGradientOfAll } from "../portable/convolutions.js";
import { transposed } from "../portable/layouts.js";
import { channelsOf } from "../portable/windows.js";
import type { Walk } from "../walk.js";
import { croppedPlaces } from "./convolutions.js";
import { convolve, isPoint, point } from "./convolve.js";
import { gather, gatherTaps, type Tap } from "./gather.js";
import { blockedChannels, firstOf, placesOf } from "./layouts.js";

/** From so many places on, a product for each row of the call reads one operand as it lies, in blocks; on smaller maps both are brought in rows, for one product. */
const placesOfProductEachMin = 784;

/** Fewer channels than this are too narrow for the products that the shifts of both operands make. */
const channelsForShiftsMin = 16;

export function kernelGradientEmitters(block: number): Emitters<"convolutionKernelGradient"> {
  return {
    convolutionKernelGradient(walk, { primitive: { window, channels }, operands: [x, dy], result }) {
      assert(x && dy);
      if (channels === "each") ofEach(walk, x, dy, window, result, block);
      else if (isPoint(window) && placesOf(x) >= placesOfProductEachMin && Math.max(channelsOf(x), channelsOf(dy)) >= block)
        ofPointsOnLargeMaps(walk, x, dy, result, block);
      else if (channelsOf(x) < channelsForShiftsMin && !isPoint(window))
        walk.giveGrains(result, "plain", { part: (grain) => ofFewChannels(walk, x, dy, window, result, grain) });
      else if (isLessShifted(walk, x, dy, window, block))
        walk.giveGrains(result, "plain", { part: (grain) => ofShifts(walk, x, dy, window, grain, block) });
      else if (!isPoint(window)) walk.giveGrains(result, "plain", { part: (grain) => ofTaps(walk, x, dy, window, result, grain, block) });
      else walk.giveGrains(result, "plain", { part: (grain) => kernelGradientOfAll(walk, x, dy, window, result, grain) });
    },
  };
}

/**
 * One convolution for each channel of each row, both in blocks as they lie: the picture is its input, dy its kernel, with strides as dilations. The rows of each grain are added afterwards.
 */
function ofEach(walk: Walk, x: Value, dy: Value, window: Window, result: Value, block: number): void {
  const { graph, rows } = walk;
  const { size, strides, padding } = window;
  const [height = 0, width = 0] = x.shape;
  const [outHeight = 0, outWidth = 0] = dy.shape;
  const channels = channelsOf(x);
  const all = blockedChannels(channels, block);
  const groups = rows * all;
  const picture = graph.node("Reshape", [walk.as(x, "blocked"), graph.integers([1, groups, height, width])]);
  const upstream = graph.node("Reshape", [walk.as(dy, "blocked"), graph.integers([groups, 1, outHeight, outWidth])]);
  const over = { size: [outHeight, outWidth], strides: point.strides, padding } as const;
  const name = convolve(graph, { x: picture, filter: upstream, window: over, dilations: strides, groups });
  // Rows and columns that the strides leave over at the far end make taps that the window does not have.
  const tall = height + padding.top + padding.bottom - (outHeight - 1) * strides[0];
  const wide = width + padding.left + padding.right - (outWidth - 1) * strides[1];
  let taps = graph.node("Reshape", [name, graph.integers([groups / block, tall, wide, block])]);
  if (tall !== size[0] || wide !== size[1]) taps = croppedPlaces(graph, taps, [0, 0], size);
  const count = size[0] * size[1];
  const ofRows = graph.node("Reshape", [taps, graph.integers([rows, all * count])]);
  let split: readonly string[] | undefined;
  walk.giveGrains(result, "plain", {
    part(grain) {
      split ??= walk.splitRows(ofRows);
      const sum = graph.node("Reshape", [sumOverAxes(graph, split[grain] as string, [0]), graph.integers([all / block, count, block])]);
      const ordered = graph.node("Reshape", [transposed(graph, sum, [1, 0, 2]), graph.integers([count, all])]);
      return graph.node("Reshape", [firstOf(graph, ordered, 1, channels, all), graph.integers(result.shape)]);
    },
  });
}

/** Of each row of the call a product, in which the operand with more channels stays in its blocks; the rows of each grain are added afterwards. */
function ofPointsOnLargeMaps(walk: Walk, x: Value, dy: Value, result: Value, block: number): void {
  const { graph, rows } = walk;
  const isTurned = channelsOf(dy) > channelsOf(x);
  const [wide, narrow] = isTurned ? [dy, x] : [x, dy];
  const [wideChannels, narrowChannels] = [channelsOf(wide), channelsOf(narrow)];
  const all = blockedChannels(wideChannels, block);
  const blocks = graph.node("Reshape", [walk.as(wide, "blocked"), graph.integers([rows, all / block, placesOf(wide), block])]);
  const places = graph.node("Reshape", [walk.as(narrow, "plain"), graph.integers([rows, 1, placesOf(narrow), narrowChannels])]);
  const products = graph.node("FusedMatMul", [blocks, places], { transA: { int: 1 } }, undefined, "com.microsoft");
  const ofRows = graph.node("Reshape", [products, graph.integers([rows, all, narrowChannels])]);
  let split: readonly string[] | undefined;
  walk.giveGrains(result, isTurned ? "turned" : "plain", {
    part(grain) {
      split ??= walk.splitRows(ofRows);
      const sum = firstOf(graph, sumOverAxes(graph, split[grain] as string, [0]), 0, wideChannels, all);
      return isTurned ? sum : graph.node("Reshape", [sum, graph.integers(result.shape)]);
    },
  });
}

/**
 * Pixels and the like: the places of a stride become channels, so that the window has no strides; x at each tap lies side by side, for one product.
 */
function ofFewChannels(walk: Walk, x: Value, dy: Value, { size, strides, padding }: Window, result: Value, grain: number): string {
  const { graph } = walk;
  const [height = 0, width = 0, channels = 0] = x.shape;
  const [outHeight = 0, outWidth = 0, filters = 0] = dy.shape;
  const [rows, columns] = [Math.ceil(size[0] / strides[0]), Math.ceil(size[1] / strides[1])];
  const [tall, wide] = [outHeight - 1 + rows, outWidth - 1 + columns];
  // Rows and columns that no window reaches are cut off: padding below 0.
  const bottom = tall * strides[0] - padding.top - height;
  const right = wide * strides[1] - padding.left - width;
  const pads = graph.integers([0, padding.top, padding.left, 0, 0, bottom, right, 0]);
  const padded = graph.node("Pad", [walk.part(x, "plain", grain), pads, graph.scalar(0)], { mode: { string: "constant" } });
  const inStride = graph.node("Reshape", [padded, graph.integers([-1, tall, strides[0], wide, strides[1] * channels])]);
  const depth = strides[0] * strides[1] * channels;
  const deep = graph.node("Reshape", [transposed(graph, inStride, [0, 1, 3, 2, 4]), graph.integers([-1, depth])]);
  const taps = rows * columns;
  const key = ["stem", walk.options.grainRows, tall, wide, outHeight, outWidth, rows, columns].join("x");
  const places = walk.options.grainRows * outHeight * outWidth;
  const gathered = gather(graph, deep, key, [places, taps], (numbers) => {
    let next = 0;
    for (let row = 0; row < walk.options.grainRows; row++)
      for (let h = 0; h < outHeight; h++)
        for (let w = 0; w < outWidth; w++)
          for (let tap = 0; tap < taps; tap++) numbers[next++] = (row * tall + h + Math.floor(tap / columns)) * wide + w + (tap % columns);
  });
  const left = graph.node("Reshape", [gathered, graph.integers([places, taps * depth])]);
  const upstream = graph.node("Reshape", [walk.part(dy, "plain", grain), graph.integers([places, filters])]);
  const product = graph.node("Gemm", [left, upstream], { transA: { int: 1 } });
  const byTap = graph.node("Reshape", [product, graph.integers([rows, columns, strides[0], strides[1], channels * filters])]);
  const [allRows, allColumns] = [rows * strides[0], columns * strides[1]];
  const inOrder = graph.node("Reshape", [
    transposed(graph, byTap, [0, 2, 1, 3, 4]),
    graph.integers([1, allRows, allColumns, channels * filters]),
  ]);
  const kept = allRows === size[0] && allColumns === size[1] ? inOrder : croppedPlaces(graph, inOrder, [0, 0], size);
  return graph.node("Reshape", [kept, graph.integers(result.shape)]);
}

/** All taps in one product: x at each tap, side by side, times dy. */
function ofTaps(walk: Walk, x: Value, dy: Value, { size, strides, padding }: Window, result: Value, grain: number, block: number): string {
  const { graph } = walk;
  const [outHeight = 0, outWidth = 0, filters = 0] = dy.shape;
  const channels = channelsOf(x);
  const into = blockedChannels(channels, block);
  const taps = Array.from({ length: size[0] * size[1] }, (_, tap): Tap => {
    const [row, column] = [Math.floor(tap / size[1]), tap % size[1]];
    return { start: [row - padding.top, column - padding.left], strides };
  });
  const left = gatherTaps(walk, walk.part(x, "blocked", grain), x, block, [outHeight, outWidth], taps);
  const upstream = graph.node("Reshape", [walk.part(dy, "plain", grain), graph.integers([-1, filters])]);
  const product = graph.node("Gemm", [left, upstream], { transA: { int: 1 } });
  const byTap = graph.node("Reshape", [product, graph.integers([taps.length, into, filters])]);
  return graph.node("Reshape", [firstOf(graph, byTap, 1, channels, into), graph.integers(result.shape)]);
}

/** Whether, without strides, shifts of both operands are fewer numbers to copy than x at every tap, with the product's rows that are then out of order. */
function isLessShifted(walk: Walk, x: Value, dy: Value, { size: [rows, columns], strides }: Window, block: number): boolean {
  if (Math.max(...strides) > 1) return false;
  const [into, out] = [blockedChannels(channelsOf(x), block), blockedChannels(channelsOf(dy), block)];
  const places = walk.options.grainRows * (x.shape[0] ?? 0) * (dy.shape[1] ?? 0);
  return places * (columns * into + rows * out) + rows * columns * into * out < places * rows * columns * into;
}

/**
 * All taps in one product: x shifted by each column of the window, side by side, times dy shifted by each row; over the places q of x's rows and dy's columns,
 * dkernel[i, j] = sum of x[q + (0, j - left)] x dy[q + (top - i, 0)], both 0 outside.
 */
function ofShifts(
  walk: Walk,
  x: Value,
  dy: Value,
  { size: [rows, columns], strides, padding }: Window,
  grain: number,
  block: number,
): string {
  const { graph } = walk;
  const [channels, filters] = [channelsOf(x), channelsOf(dy)];
  const [into, out] = [blockedChannels(channels, block), blockedChannels(filters, block)];
  const to: Pair = [x.shape[0] ?? 0, dy.shape[1] ?? 0];
  const alongWidth = Array.from({ length: columns }, (_, j): Tap => ({ start: [0, j - padding.left], strides }));
  const alongHeight = Array.from({ length: rows }, (_, i): Tap => ({ start: [padding.top - i, 0], strides }));
  const left = gatherTaps(walk, walk.part(x, "blocked", grain), x, block, to, alongWidth);
  const right = gatherTaps(walk, walk.part(dy, "blocked", grain), dy, block, to, alongHeight);
  const product = graph.node("Gemm", [left, right], { transA: { int: 1 } });
  const byFilters = graph.node("Reshape", [product, graph.integers([columns * into * rows, out])]);
  const key = ["taps", columns, into, rows, channels].join("x");
  const inOrder = gather(graph, byFilters, key, [rows, columns, channels], (numbers) => {
    let next = 0;
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) for (let c = 0; c < channels; c++) numbers[next++] = (j * into + c) * rows + i;
  });
  return firstOf(graph, inOrder, 3, filters, out);
}
