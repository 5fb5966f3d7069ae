import { strict as assert } from "node:assert";
import { elementCount } from "../../../../../domain/network/network.js";
import type { Value } from "../../../../../domain/network/gradient/program.js";
import type { Emitters } from "../lowering.js";
import { sumOverAxes } from "../parameters.js";
import { sumVectors } from "../products.js";
import type { Walk } from "../walk.js";
import { portableLayout } from "./layouts.js";
import { channelsOf, cropped, zeroPadded } from "./windows.js";

/** Sums over rows and places, numbers for each channel, and places and channels moved about. */
export const channelEmitters: Emitters<
  "sumOverRows" | "dotOverRows" | "varianceOverRows" | "scaleChannels" | "addScaled" | "concat" | "channels" | "pad" | "crop"
> = {
  sumOverRows(walk, { operands: [x], result }) {
    assert(x);
    if (x.shape.length === 1) sumVectors(walk, x, result);
    else walk.giveGrains(result, "plain", { part: (grain) => sumOfChannels(walk, x, walk.part(x, "nchw", grain)) });
  },

  dotOverRows(walk, { operands: [a, b, centre], result }) {
    assert(a && b);
    const layout = portableLayout(a);
    const part = (grain: number): string => {
      const other = walk.part(b, layout, grain);
      const centred = centre ? walk.graph.node("Sub", [other, alongChannels(walk, centre, a, grain)]) : other;
      return sumOfChannels(walk, a, walk.graph.node("Mul", [walk.part(a, layout, grain), centred]));
    };
    walk.giveGrains(result, "plain", { part });
  },

  varianceOverRows(walk, { operands: [x, mean], result }) {
    assert(x && mean);
    const { graph } = walk;
    const count = (walk.options.grainRows * elementCount(x.shape)) / channelsOf(x);
    const part = (grain: number): string => {
      const centred = graph.node("Sub", [walk.part(x, portableLayout(x), grain), alongChannels(walk, mean, x, grain)]);
      return graph.node("Div", [sumOfChannels(walk, x, graph.node("Mul", [centred, centred])), graph.scalar(count)]);
    };
    walk.giveGrains(result, "plain", { part });
  },

  scaleChannels(walk, { operands: [x, scale, offset], result }) {
    assert(x && scale);
    const layout = portableLayout(x);
    const scaled = walk.graph.node("Mul", [walk.as(x, layout), alongChannels(walk, scale, x)]);
    walk.give(result, layout, offset ? walk.graph.node("Add", [scaled, alongChannels(walk, offset, x)]) : scaled);
  },

  addScaled(walk, { operands: [a, b, q, r], result }) {
    assert(a && b && q && r);
    const { graph } = walk;
    const layout = portableLayout(a);
    const scaled = graph.node("Mul", [walk.as(b, layout), alongChannels(walk, q, a)]);
    walk.give(result, layout, graph.node("Add", [graph.node("Add", [walk.as(a, layout), scaled]), alongChannels(walk, r, a)]));
  },

  concat(walk, { operands, result }) {
    const layout = portableLayout(result);
    const parts = operands.map((x) => walk.as(x, layout));
    walk.give(result, layout, walk.graph.node("Concat", parts, { axis: { int: 1 } }));
  },

  channels(walk, { primitive: { first }, operands: [x], result }) {
    assert(x);
    const layout = portableLayout(result);
    const [start, end, axis] = [first, first + channelsOf(result), 1].map((value) => walk.graph.integers([value]));
    assert(start && end && axis);
    walk.give(result, layout, walk.graph.node("Slice", [walk.as(x, layout), start, end, axis]));
  },

  pad(walk, { primitive: { padding }, operands: [x], result }) {
    assert(x);
    walk.give(result, "nchw", zeroPadded(walk.graph, walk.as(x, "nchw"), "nchw", padding));
  },

  crop(walk, { primitive: { padding }, operands: [x], result }) {
    assert(x);
    const [height = 0, width = 0] = result.shape;
    walk.give(result, "nchw", cropped(walk.graph, walk.as(x, "nchw"), [padding.top, padding.left], [height, width]));
  },
};

/**
 * The sum over rows and places of a tensor that lies as the portable lowering holds `like`. First over places, then over rows: of all at once, threads share out the rows where there are
 * fewer channels than threads, and show in the bits.
 */
function sumOfChannels(walk: Walk, like: Value, name: string): string {
  const ofRows = like.shape.length === 1 ? name : sumOverAxes(walk.graph, name, [2, 3]);
  return sumOverAxes(walk.graph, ofRows, [0]);
}

/** One number a channel, to be combined with a tensor that lies as the portable lowering holds `like`: a grain's own where one is named. */
function alongChannels(walk: Walk, vector: Value, like: Value, grain?: number): string {
  const name = (): string => (grain === undefined ? walk.as(vector, "plain") : walk.part(vector, "plain", grain));
  if (like.shape.length === 1) return name();
  const part = grain !== undefined && walk.isByGrain(vector) ? ` of grain ${grain}` : "";
  return walk.derived(vector, `along channels${part}`, () =>
    walk.graph.node("Reshape", [name(), walk.graph.integers([channelsOf(like), 1, 1])]),
  );
}
