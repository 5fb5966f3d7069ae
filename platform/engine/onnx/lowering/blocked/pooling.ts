import { strict as assert } from "node:assert";
import type { Emitters } from "../lowering.js";
import { poolingEmitters as portable } from "../portable/pooling.js";
import { channelsOf, windowAttributes } from "../portable/windows.js";
import { blockedChannels, filledUp, firstOf, layoutOfOperands, nchwcDomain, placesOf, weightedSum } from "./layouts.js";

export function poolingEmitters(
  block: number,
): Emitters<"maxPool" | "averagePool" | "maxPoolGradient" | "averagePoolGradient" | "globalAveragePool" | "globalAveragePoolGradient"> {
  return {
    ...portable,

    maxPool(walk, { primitive: { window }, operands: [x], result }) {
      assert(x);
      walk.give(result, "blocked", walk.graph.node("MaxPool", [walk.as(x, "blocked")], windowAttributes(window), undefined, nchwcDomain));
    },

    averagePool(walk, { primitive: { window }, operands: [x], result }) {
      assert(x);
      const attributes = { ...windowAttributes(window), count_include_pad: { int: 0 } };
      walk.give(result, "blocked", walk.graph.node("AveragePool", [walk.as(x, "blocked")], attributes, undefined, nchwcDomain));
    },

    globalAveragePool(walk, { operands: [x], result }) {
      assert(x);
      const { graph, rows } = walk;
      const channels = channelsOf(x);
      if (layoutOfOperands(walk, [x]) !== "blocked") {
        const places = graph.node("Reshape", [walk.as(x, "plain"), graph.integers([rows, placesOf(x), channels])]);
        const means = weightedSum(graph, places, placesOf(x), 1 / placesOf(x));
        walk.give(result, "plain", graph.node("Reshape", [means, graph.integers([rows, channels])]));
        return;
      }
      const all = blockedChannels(channels, block);
      const pooled = graph.node("GlobalAveragePool", [walk.as(x, "blocked")], {}, undefined, nchwcDomain);
      walk.give(result, "plain", firstOf(graph, graph.node("Reshape", [pooled, graph.integers([rows, all])]), 1, channels, all));
    },

    globalAveragePoolGradient(walk, { operands: [dy], result }) {
      assert(dy);
      const { graph, rows } = walk;
      const [height = 0, width = 0, channels = 0] = result.shape;
      const share = graph.node("Mul", [walk.as(dy, "plain"), graph.scalar(1 / (height * width))]);
      const all = blockedChannels(channels, block);
      const filled = filledUp(graph, share, [rows, channels], [rows, all]);
      const places = graph.node("Reshape", [filled, graph.integers([(rows * all) / block, 1, block])]);
      const everywhere = graph.node("Expand", [places, graph.integers([(rows * all) / block, height * width, block])]);
      walk.give(result, "blocked", graph.node("Reshape", [everywhere, graph.integers([rows, all, height, width])]));
    },
  };
}
