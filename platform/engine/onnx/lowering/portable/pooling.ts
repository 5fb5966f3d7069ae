import { strict as assert } from "node:assert";
import type { Window } from "../../../../../domain/network/gradient/program.js";
import { elementCount, type Shape } from "../../../../../domain/network/network.js";
import type { Emitters } from "../lowering.js";
import { inputGradient } from "./convolutions.js";
import { channelsOf, windowAttributes } from "./windows.js";

export const poolingEmitters: Emitters<
  "maxPool" | "averagePool" | "maxPoolGradient" | "averagePoolGradient" | "globalAveragePool" | "globalAveragePoolGradient"
> = {
  maxPool(walk, { primitive: { window }, operands: [x], result }) {
    assert(x);
    walk.give(result, "nchw", walk.graph.node("MaxPool", [walk.as(x, "nchw")], windowAttributes(window)));
  },

  /** The pooling once more, for the places of the largest values (the first of equals), to which the gradients are added. */
  maxPoolGradient(walk, { primitive: { window }, operands: [dy, x], result }) {
    assert(dy && x);
    const { graph, rows } = walk;
    const [largest, places] = [`largest/${result.id}`, `places/${result.id}`];
    graph.nodeWithOutputs("MaxPool", [walk.as(x, "nchw")], [largest, places], windowAttributes(window));
    const flat = (name: string): string => graph.node("Reshape", [name, graph.integers([-1])]);
    const zeros = graph.node("ConstantOfShape", [graph.integers([rows * elementCount(result.shape)])]);
    const sums = graph.node("ScatterElements", [zeros, flat(places), flat(walk.as(dy, "nchw"))], {
      axis: { int: 0 },
      reduction: { string: "add" },
    });
    const [height = 0, width = 0] = result.shape;
    walk.give(result, "nchw", graph.node("Reshape", [sums, graph.integers([rows, channelsOf(result), height, width])]));
  },

  averagePool(walk, { primitive: { window }, operands: [x], result }) {
    assert(x);
    const attributes = { ...windowAttributes(window), count_include_pad: { int: 0 } };
    walk.give(result, "nchw", walk.graph.node("AveragePool", [walk.as(x, "nchw")], attributes));
  },

  /** Of dy divided by the places that each window counts, what a convolution of each channel with ones hands down. */
  averagePoolGradient(walk, { primitive: { window }, operands: [dy], result }) {
    assert(dy);
    const { graph } = walk;
    const [height = 0, width = 0] = dy.shape;
    const shares = graph.floats(`shares/${result.id}`, [1, 1, height, width], sharesOf(window, result.shape, dy.shape));
    const channels = channelsOf(result);
    const kernelShape = [channels, 1, ...window.size];
    const ones = graph.floats(`ones/${kernelShape.join("x")}`, kernelShape, new Float32Array(elementCount(kernelShape)).fill(1));
    const upstream = graph.node("Mul", [walk.as(dy, "nchw"), shares]);
    walk.give(result, "nchw", inputGradient(walk, upstream, dy, ones, window, channels, result));
  },

  globalAveragePool(walk, { operands: [x], result }) {
    assert(x);
    const pooled = walk.graph.node("GlobalAveragePool", [walk.as(x, "nchw")]);
    walk.give(result, "plain", walk.graph.node("Reshape", [pooled, walk.graph.integers([walk.rows, channelsOf(x)])]));
  },

  globalAveragePoolGradient(walk, { operands: [dy], result }) {
    assert(dy);
    const { graph, rows } = walk;
    const [height = 0, width = 0, channels = 0] = result.shape;
    const share = graph.node("Mul", [walk.as(dy, "plain"), graph.scalar(1 / (height * width))]);
    const places = graph.node("Reshape", [share, graph.integers([rows, channels, 1, 1])]);
    walk.give(result, "nchw", graph.node("Expand", [places, graph.integers([rows, channels, height, width])]));
  },
};

/** Of each window, 1 / the places of the picture in it. */
function sharesOf({ size, strides, padding }: Window, [height = 0, width = 0]: Shape, [rows = 0, columns = 0]: Shape): Float32Array {
  const counted = (index: number, length: number, axis: 0 | 1, before: number): number => {
    const start = index * strides[axis] - before;
    return Math.min(start + size[axis], length) - Math.max(start, 0);
  };
  return Float32Array.from(
    { length: rows * columns },
    (_, i) => 1 / (counted(Math.floor(i / columns), height, 0, padding.top) * counted(i % columns, width, 1, padding.left)),
  );
}
