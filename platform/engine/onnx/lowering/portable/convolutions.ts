import { strict as assert } from "node:assert";
import type { Channels, Value, Window } from "../../../../../domain/network/gradient/program.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Emitters } from "../lowering.js";
import { sumOverAxes } from "../parameters.js";
import type { Walk } from "../walk.js";
import { transposed } from "./layouts.js";
import { channelsOf, cropped, inputGradientWindow, spread, windowAttributes, zeroPadded } from "./windows.js";

/** Fewer input channels than this make a product of its own for each tap too narrow: the taps are laid side by side first. */
const channelsForProductEach = 16;

export const convolutionEmitters: Emitters<"convolution" | "convolutionInputGradient" | "convolutionKernelGradient"> = {
  convolution(walk, { primitive: { window, channels }, operands: [x, kernel, bias], result }) {
    assert(x && kernel);
    const operands = [walk.as(x, "nchw"), forwardKernel(walk, kernel, channels), ...(bias ? [walk.as(bias, "plain")] : [])];
    walk.give(result, "nchw", convolved(walk.graph, operands, window, channels === "each" ? channelsOf(x) : 1, result));
  },

  /**
   * A convolution with the taps turned round. Where the window has strides, zeros between the places of dy make up for them if each channel is alone (a few multiplications by 0);
   * ConvTranspose does without these where all channels are summed.
   */
  convolutionInputGradient(walk, { primitive: { window, channels }, operands: [dy, kernel], result }) {
    assert(dy && kernel);
    const upstream = walk.as(dy, "nchw");
    if (channels === "each" || Math.max(...window.strides) === 1 || placesOf(dy) === 1) {
      const group = channels === "each" ? channelsOf(result) : 1;
      walk.give(result, "nchw", inputGradient(walk, upstream, dy, turnedKernel(walk, kernel), window, group, result));
      return;
    }
    const { leftOver } = inputGradientWindow(result.shape, dy.shape, window);
    const attributes = { ...windowAttributes(window), group: { int: 1 }, output_padding: { ints: leftOver } };
    walk.give(result, "nchw", walk.graph.node("ConvTranspose", [upstream, forwardKernel(walk, kernel, channels)], attributes));
  },

  convolutionKernelGradient(walk, { primitive: { window, channels }, operands: [x, dy], result }) {
    assert(x && dy);
    if (channels === "each") kernelGradientOfEach(walk, x, dy, window, result);
    else walk.giveGrains(result, "plain", { part: (grain) => kernelGradientOfAll(walk, x, dy, window, result, grain) });
  },
};

/** dx as a convolution of dy with zeros between its places; `turned` is the kernel with its taps turned round. */
export function inputGradient(
  walk: Walk,
  upstream: string,
  dy: Value,
  turned: string,
  window: Window,
  group: number,
  result: Value,
): string {
  const { padding } = inputGradientWindow(result.shape, dy.shape, window);
  const zeros = spread(walk, upstream, dy.shape, window.strides, padding);
  return convolved(walk.graph, [zeros.name, turned], { size: window.size, strides: [1, 1], padding: zeros.padding }, group, result);
}

/**
 * A convolution with as many groups. One that gives a single place would be a product with one column, which threads divide so that their number shows in the bits: it gets a second place, which
 * is dropped.
 */
function convolved(graph: GraphBuilder, operands: readonly string[], window: Window, group: number, result: Value): string {
  const isAlone = group === 1 && placesOf(result) === 1;
  const { padding, strides } = window;
  const wide = isAlone ? { ...window, padding: { ...padding, bottom: padding.bottom + strides[0] } } : window;
  const places = graph.node("Conv", operands, { ...windowAttributes(wide), group: { int: group } });
  return isAlone ? cropped(graph, places, [0, 0], [1, 1]) : places;
}

function placesOf({ shape: [height = 0, width = 0] }: Value): number {
  return height * width;
}

/** Of each tap: its input channels by its output channels, a product over all rows and places of the grain. */
function kernelGradientOfAll(walk: Walk, x: Value, dy: Value, window: Window, result: Value, grain: number): string {
  const { graph } = walk;
  const [height = 0, width = 0, filters = 0] = dy.shape;
  const channels = channelsOf(x);
  const flat = (name: string, columns: number): string => graph.node("Reshape", [name, graph.integers([-1, columns])]);
  const upstream = flat(walk.part(dy, "plain", grain), filters);
  const product = (left: string): string => graph.node("Gemm", [left, upstream], { transA: { int: 1 } });

  const input = walk.part(x, "plain", grain);
  const padded = zeroPadded(graph, input, "plain", window.padding);
  const [rows, columns] = window.size;
  const isWhole = Math.max(...window.size, ...window.strides) === 1 && padded === input;
  const taps = Array.from({ length: rows * columns }, (_, tap) =>
    isWhole ? input : strided(graph, padded, [Math.floor(tap / columns), tap % columns], [height, width], window.strides),
  );
  const [first = ""] = taps;
  const stacked =
    taps.length === 1
      ? product(flat(first, channels))
      : channels < channelsForProductEach
        ? product(flat(graph.node("Concat", taps, { axis: { int: 3 } }), taps.length * channels))
        : graph.node(
            "Concat",
            taps.map((tap) => product(flat(tap, channels))),
            { axis: { int: 0 } },
          );
  return graph.node("Reshape", [stacked, graph.integers(result.shape)]);
}

/** Every `strides`-th place of `[rows, h, w, channels]` from `start` on. */
function strided(
  graph: GraphBuilder,
  name: string,
  start: readonly [number, number],
  [height, width]: readonly [number, number],
  strides: readonly [number, number],
): string {
  const ends = [start[0] + (height - 1) * strides[0] + 1, start[1] + (width - 1) * strides[1] + 1];
  return graph.node("Slice", [name, ...[start, ends, [1, 2], strides].map((values) => graph.integers(values))]);
}

/**
 * One convolution for each channel of each row: the picture is its input, the upstream gradient its kernel, with strides as dilations. The rows of each grain are added afterwards.
 */
function kernelGradientOfEach(walk: Walk, x: Value, dy: Value, window: Window, result: Value): void {
  const { graph, rows } = walk;
  const [height = 0, width = 0, channels = 0] = x.shape;
  const [outHeight = 0, outWidth = 0] = dy.shape;
  const groups = rows * channels;
  const picture = graph.node("Reshape", [walk.as(x, "nchw"), graph.integers([1, groups, height, width])]);
  const upstream = graph.node("Reshape", [walk.as(dy, "nchw"), graph.integers([groups, 1, outHeight, outWidth])]);
  const attributes = {
    ...windowAttributes({ size: [outHeight, outWidth], strides: [1, 1], padding: window.padding }),
    dilations: { ints: window.strides },
    group: { int: groups },
  };
  // Rows and columns that the strides leave over at the far end make taps that the window does not have.
  const taps = cropped(graph, graph.node("Conv", [picture, upstream], attributes), [0, 0], window.size);
  const ofRows = graph.node("Reshape", [taps, graph.integers([rows, channels * window.size[0] * window.size[1]])]);
  let split: readonly string[] | undefined;
  walk.giveGrains(result, "turned", {
    part(grain) {
      split ??= walk.splitRows(ofRows);
      return graph.node("Reshape", [sumOverAxes(graph, split[grain] as string, [0]), graph.integers([channels, -1])]);
    },
  });
}

/** `[filters, channels, h, w]`, or `[channels, 1, h, w]`: as Conv wants it. */
function forwardKernel(walk: Walk, kernel: Value, channels: Channels): string {
  const perm = channels === "each" ? [2, 3, 0, 1] : [3, 2, 0, 1];
  return walk.derived(kernel, `forward, ${channels}`, () => transposed(walk.graph, walk.as(kernel, "plain"), perm));
}

/** The kernel of the way back, `[channels, filters, h, w]` or `[channels, 1, h, w]`: its taps are turned round. */
function turnedKernel(walk: Walk, kernel: Value): string {
  return walk.derived(kernel, "turned round", () => {
    const { graph } = walk;
    const last = -(2 ** 31);
    const isPoint = kernel.shape[0] === 1 && kernel.shape[1] === 1;
    const slice = [
      [-1, -1],
      [last, last],
      [0, 1],
      [-1, -1],
    ].map((values) => graph.integers(values));
    const turned = isPoint ? walk.as(kernel, "plain") : graph.node("Slice", [walk.as(kernel, "plain"), ...slice]);
    return transposed(graph, turned, [2, 3, 0, 1]);
  });
}
