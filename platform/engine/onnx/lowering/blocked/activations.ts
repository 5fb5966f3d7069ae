import { strict as assert } from "node:assert";
import { elementwiseEmitters } from "../elementwise.js";
import type { Emitters } from "../lowering.js";
import { channelsOf } from "../portable/windows.js";
import { convolve, point } from "./convolve.js";
import { blockedChannels, layoutOfOperands } from "./layouts.js";

/** So steep that a number of any size becomes 0 or 1. */
const steep = 1e30;

/** Element by element, blocked or in rows, as the operands lie. */
export function activationEmitters(
  block: number,
): Emitters<"relu" | "relu6" | "sigmoid" | "reluGradient" | "relu6Gradient" | "sigmoidGradient" | "add" | "multiply"> {
  return {
    ...elementwiseEmitters((walk, { operands }) => layoutOfOperands(walk, operands)),

    /** The mask is 1 where y is above 0; a steep HardSigmoid is faster than Sign. */
    reluGradient(walk, { operands: [dy, y], result }) {
      assert(dy && y);
      const layout = layoutOfOperands(walk, [dy, y]);
      const above = walk.derived(y, `above 0, ${layout}`, () =>
        walk.graph.node("HardSigmoid", [walk.as(y, layout)], { alpha: { float: steep }, beta: { float: 0 } }),
      );
      walk.give(result, layout, walk.graph.node("Mul", [walk.as(dy, layout), above]));
    },

    /** The mask is 1 where y x y - 6 x y is below 0. In blocks a convolution with -6 computes that in one pass, with the mask: half of the time of Sub, Mul and HardSigmoid. */
    relu6Gradient(walk, { operands: [dy, y], result }) {
      assert(dy && y);
      const { graph } = walk;
      const layout = layoutOfOperands(walk, [dy, y]);
      const given = walk.as(y, layout);
      const inside = walk.derived(y, `inside, ${layout}`, () => {
        if (layout === "blocked") {
          const groups = blockedChannels(channelsOf(y), block);
          const filter = graph.floats(`minus six/${groups}`, [groups, 1, 1, 1], new Float32Array(groups).fill(-6));
          const sum = graph.node("Mul", [given, given]);
          return convolve(graph, { x: given, filter, sum, window: point, groups, activation: "isNegative" });
        }
        const product = graph.node("Mul", [given, graph.node("Sub", [graph.scalar(6), given])]);
        return graph.node("HardSigmoid", [product], { alpha: { float: steep }, beta: { float: 0 } });
      });
      walk.give(result, layout, graph.node("Mul", [walk.as(dy, layout), inside]));
    },
  };
}
