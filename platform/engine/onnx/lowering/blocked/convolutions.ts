import { strict as assert } from "node:assert";
import type { Value, Window } from "../../../../../domain/network/gradient/program.js";
import type { Padding, Pair, Shape } from "../../../../../domain/network/network.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Emitters } from "../lowering.js";
import { channelsOf, inputGradientWindow } from "../portable/windows.js";
import type { Walk } from "../walk.js";
import { type BlockedConvolution, convolve, joined, point } from "./convolve.js";
import { backwardFilter, blockedVector, channelFilter, filterOfPlainInput, forwardFilter } from "./filters.js";
import { blocksOf, gather } from "./gather.js";
import { blockedChannels } from "./layouts.js";

/** Pictures of at most this part of a block's channels enter a convolution as plain NCHW: of the three channels of pixels a block would be mostly zeros. */
const plainInputPart = 1 / 4;

export function convolutionEmitters(block: number): Emitters<"convolution" | "convolutionInputGradient"> {
  return {
    convolution(walk, { primitive: { window, channels }, operands: [x, kernel, bias], result: ownResult }) {
      assert(x && kernel);
      const { result, ...more } = joined(walk, ownResult);
      const common = { bias: bias && blockedVector(walk, bias, block), window, ...more };
      const channelsIn = channelsOf(x);
      let name: string;
      if (channels === "each") {
        const groups = blockedChannels(channelsIn, block);
        name = convolve(walk.graph, { x: walk.as(x, "blocked"), filter: channelFilter(walk, kernel, block, "forward"), groups, ...common });
      } else if (channelsIn <= block * plainInputPart && !walk.has(x, "blocked"))
        name = convolve(walk.graph, { x: walk.as(x, "nchw"), filter: filterOfPlainInput(walk, kernel, block), ...common });
      else name = convolve(walk.graph, { x: walk.as(x, "blocked"), filter: forwardFilter(walk, kernel, block), ...common });
      walk.give(result, "blocked", name);
    },

    /** A convolution with the taps turned round. Where the window has strides: over dy with zeros between its places, if each channel is alone (a few multiplications by 0), else in phases. */
    convolutionInputGradient(walk, { primitive: { window, channels }, operands: [dy, kernel], result: ownResult }) {
      assert(dy && kernel);
      const { result, sum } = joined(walk, ownResult, []);
      const upstream = walk.as(dy, "blocked");
      if (channels === "each") {
        const filter = channelFilter(walk, kernel, block, "backward");
        const groups = blockedChannels(channelsOf(dy), block);
        walk.give(result, "blocked", overSpread(walk, { x: upstream, filter, groups, sum }, dy, ownResult, window, block));
        return;
      }
      const phases = Math.max(...window.strides) > 1 ? phasesOf(dy, ownResult, window) : undefined;
      if (phases) {
        const name = inPhases(walk, upstream, kernel, ownResult, window, phases, block);
        walk.give(result, "blocked", sum === undefined ? name : walk.graph.node("Add", [name, sum]));
        return;
      }
      const filter = backwardFilter(walk, kernel, block);
      if (Math.max(...window.size) === 1 && Math.max(...window.strides) > 1) {
        const { padding } = inputGradientWindow(ownResult.shape, dy.shape, window);
        const places = convolve(walk.graph, { x: upstream, filter, window: point });
        const shape = [...dy.shape.slice(0, 2), channelsOf(ownResult)];
        const { name } = spreadBlocked(walk, places, shape, window, padding, block);
        walk.give(result, "blocked", sum === undefined ? name : walk.graph.node("Add", [name, sum]));
        return;
      }
      walk.give(result, "blocked", overSpread(walk, { x: upstream, filter, sum }, dy, ownResult, window, block));
    },
  };
}

/** A convolution without strides over dy with zeros between its places. */
function overSpread(
  walk: Walk,
  { x, ...convolution }: Omit<BlockedConvolution, "window">,
  dy: Value,
  dx: Value,
  window: Window,
  block: number,
): string {
  const spread = spreadBlocked(walk, x, dy.shape, window, inputGradientWindow(dx.shape, dy.shape, window).padding, block);
  const over = { size: window.size, strides: point.strides, padding: spread.padding };
  return convolve(walk.graph, { ...convolution, x: spread.name, window: over });
}

/** Along one axis: places q = stride x a + phase of dx, for a = 0, 1, …, see these taps, and this padding before and after dy. */
interface Phase {
  readonly firstTap: number;
  readonly taps: number;
  readonly before: number;
  readonly after: number;
}

type Phases = readonly [rows: readonly Phase[], columns: readonly Phase[]];

/**
 * dx of a window with strides falls into phases, one for each place within a stride: each sees every stride-th tap only, dx[stride x a + phase] = sum over j of dy[a + d - j] x kernel[first + stride x j].
 * Undefined where a phase sees no tap or its convolution would need to crop.
 */
function phasesOf(dy: Value, dx: Value, { size, strides, padding }: Window): Phases | undefined {
  const along = (axis: 0 | 1, before: number): Phase[] =>
    Array.from({ length: strides[axis] }, (_, phase) => {
      const stride = strides[axis];
      const firstTap = (phase + before) % stride;
      const taps = Math.ceil((size[axis] - firstTap) / stride);
      const start = taps - 1 - (phase + before - firstTap) / stride;
      const places = Math.ceil((dx.shape[axis] ?? 0) / stride);
      return { firstTap, taps, before: start, after: places + taps - 1 - start - (dy.shape[axis] ?? 0) };
    });
  const phases: Phases = [along(0, padding.top), along(1, padding.left)];
  return phases.flat().every(({ taps, before, after }) => taps > 0 && before >= 0 && after >= 0) ? phases : undefined;
}

/** A convolution for each phase; their places are put side by side, first along the width, then along the height. */
function inPhases(
  walk: Walk,
  upstream: string,
  kernel: Value,
  dx: Value,
  { strides }: Window,
  [rows, columns]: Phases,
  block: number,
): string {
  const { graph } = walk;
  const [height = 0, width = 0] = dx.shape;
  const all = blockedChannels(channelsOf(dx), block);
  const [tall, wide] = [Math.ceil(height / strides[0]), Math.ceil(width / strides[1])];
  const blocks = (walk.rows * all) / block;
  const ofRow = (row: Phase): string => {
    const parts = columns.map((column) => {
      const taps: Pair = [row.taps, column.taps];
      const padding = { top: row.before, bottom: row.after, left: column.before, right: column.after };
      const filter = backwardFilter(walk, kernel, block, { first: [row.firstTap, column.firstTap], strides, count: taps });
      const part = convolve(graph, { x: upstream, filter, window: { size: taps, strides: point.strides, padding } });
      return graph.node("Reshape", [part, graph.integers([blocks * tall * wide, block])]);
    });
    return graph.node("Reshape", [sideBySide(graph, parts), graph.integers([blocks * tall, wide * strides[1] * block])]);
  };
  const whole = sideBySide(graph, rows.map(ofRow));
  const [oddTall, oddWide] = [tall * strides[0], wide * strides[1]];
  const places = graph.node("Reshape", [whole, graph.integers([blocks, oddTall, oddWide, block])]);
  const kept = oddTall === height && oddWide === width ? places : croppedPlaces(graph, places, [0, 0], [height, width]);
  return graph.node("Reshape", [kept, graph.integers([walk.rows, all, height, width])]);
}

function sideBySide(graph: GraphBuilder, parts: readonly string[]): string {
  const [first = ""] = parts;
  return parts.length === 1 ? first : graph.node("Concat", parts, { axis: { int: 1 } });
}

/** `height` x `width` places of `[…, h, w, B]` from `start` on. */
export function croppedPlaces(graph: GraphBuilder, name: string, start: Pair, [height, width]: Pair): string {
  const bounds = [start, [start[0] + height, start[1] + width], [1, 2]];
  return graph.node("Slice", [name, ...bounds.map((values) => graph.integers(values))]);
}

/** A blocked picture with `strides` - 1 zeros between its places, and as many after the last as `padding` allows; and the padding that is still to come so that there is `padding` around the places. */
function spreadBlocked(
  walk: Walk,
  picture: string,
  [height = 0, width = 0, channels = 0]: Shape,
  { strides }: Window,
  padding: Padding,
  block: number,
): { readonly name: string; readonly padding: Padding } {
  if (Math.max(...strides) === 1) return { name: picture, padding };
  const { graph, rows } = walk;
  const all = blockedChannels(channels, block);
  const [tall, wide] = [height * strides[0], width * strides[1]];
  const [bottom, right] = [padding.bottom - (strides[0] - 1), padding.right - (strides[1] - 1)];
  const [keptTall, keptWide] = [tall + Math.min(0, bottom), wide + Math.min(0, right)];
  const layers = (rows * all) / block;
  const { name, count: outside } = blocksOf(graph, picture, { shape: [height, width, channels] }, rows, block);
  const key = ["spread", layers, height, width, ...strides, keptTall, keptWide].join("x");
  const spread = gather(graph, name, key, [layers, keptTall, keptWide], (numbers) => {
    let next = 0;
    for (let layer = 0; layer < layers; layer++)
      for (let h = 0; h < keptTall; h++)
        for (let w = 0; w < keptWide; w++) {
          const isPlace = h % strides[0] === 0 && w % strides[1] === 0;
          numbers[next++] = isPlace ? (layer * height + h / strides[0]) * width + w / strides[1] : outside;
        }
  });
  return {
    name: graph.node("Reshape", [spread, graph.integers([rows, all, keptTall, keptWide])]),
    padding: { ...padding, bottom: Math.max(0, bottom), right: Math.max(0, right) },
  };
}
