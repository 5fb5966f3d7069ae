import { strict as assert } from "node:assert";
import type { Value, Window } from "../../../../../domain/network/gradient/program.js";
import type { Padding, Pair } from "../../../../../domain/network/network.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Emitters } from "../lowering.js";
import { channelsOf, inputGradientWindow } from "../portable/windows.js";
import type { Walk } from "../walk.js";
import { convolve, joined, point } from "./convolve.js";
import { backwardFilter, blockedVector, channelFilter, filterOfPlainInput, forwardFilter } from "./filters.js";
import { blockedChannels } from "./layouts.js";
import { isProductOfRows, productOfRows } from "./row-products.js";

/** Pictures of at most this part of a block's channels enter a convolution as plain NCHW: of the three channels of pixels a block would be mostly zeros. */
const plainInputPart = 1 / 4;

export function convolutionEmitters(block: number): Emitters<"convolution" | "convolutionInputGradient"> {
  return {
    convolution(walk, { primitive: { window, channels }, operands: [x, kernel, bias], result: ownResult }) {
      assert(x && kernel);
      if (channels === "all" && isProductOfRows(walk, x, ownResult, window)) {
        walk.give(ownResult, "plain", productOfRows(walk, x, kernel, ownResult, { transposed: false, bias }));
        return;
      }
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

    /** A convolution with the taps turned round, over dy with zeros between its places where the window has strides. */
    convolutionInputGradient(walk, { primitive: { window, channels }, operands: [dy, kernel], result: ownResult }) {
      assert(dy && kernel);
      if (channels === "all" && isProductOfRows(walk, dy, ownResult, window)) {
        walk.give(ownResult, "plain", productOfRows(walk, dy, kernel, ownResult, { transposed: true }));
        return;
      }
      const { result, sum } = joined(walk, ownResult, []);
      const { graph } = walk;
      const upstream = walk.as(dy, "blocked");
      const channelsOut = blockedChannels(channelsOf(dy), block);
      const { padding } = inputGradientWindow(ownResult.shape, dy.shape, window);
      const filter = channels === "each" ? channelFilter(walk, kernel, block, "backward") : backwardFilter(walk, kernel, block);
      const groups = channels === "each" ? channelsOut : 1;
      const spread = spreadBlocked(walk, upstream, dy, window, padding, block);
      const strided = { size: window.size, strides: point.strides, padding: spread.padding };
      walk.give(result, "blocked", convolve(graph, { x: spread.name, filter, groups, window: strided, sum }));
    },
  };
}

/** `height` x `width` places of `[…, h, w, B]` from `start` on. */
export function croppedPlaces(graph: GraphBuilder, name: string, start: Pair, [height, width]: Pair): string {
  const bounds = [start, [start[0] + height, start[1] + width], [1, 2]];
  return graph.node("Slice", [name, ...bounds.map((values) => graph.integers(values))]);
}

/** A blocked picture with `strides` - 1 zeros after each place, and the padding that is still to come so that there is `padding` around the places. */
function spreadBlocked(
  walk: Walk,
  name: string,
  { shape: [height = 0, width = 0, channels = 0] }: Value,
  { strides }: Window,
  padding: Padding,
  block: number,
): { readonly name: string; readonly padding: Padding } {
  if (Math.max(...strides) === 1) return { name, padding };
  const { graph, rows } = walk;
  const all = blockedChannels(channels, block);
  const places = graph.node("Reshape", [name, graph.integers([(rows * all) / block, height, 1, width, block])]);
  const pads = graph.integers([0, 0, 0, 0, 0, 0, 0, strides[0] - 1, 0, (strides[1] - 1) * block]);
  const padded = graph.node("Pad", [places, pads, graph.scalar(0)], { mode: { string: "constant" } });
  const [tall, wide] = [height * strides[0], width * strides[1]];
  const [bottom, right] = [padding.bottom - (strides[0] - 1), padding.right - (strides[1] - 1)];
  const [keptTall, keptWide] = [tall + Math.min(0, bottom), wide + Math.min(0, right)];
  const spread = graph.node("Reshape", [padded, graph.integers([(rows * all) / block, tall, wide, block])]);
  const kept = keptTall === tall && keptWide === wide ? spread : croppedPlaces(graph, spread, [0, 0], [keptTall, keptWide]);
  return {
    name: graph.node("Reshape", [kept, graph.integers([rows, all, keptTall, keptWide])]),
    padding: { ...padding, bottom: Math.max(0, bottom), right: Math.max(0, right) },
  };
}
