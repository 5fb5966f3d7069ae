import { strict as assert } from "node:assert";
import type { Value } from "../../../../../domain/network/gradient/program.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Layout, Lowering } from "../lowering.js";
import type { Walk } from "../walk.js";
import { convertPortable } from "../portable/layouts.js";
import { channelsOf } from "../portable/windows.js";

/** Where the runtime keeps its blocked operators. */
export const nchwcDomain = "com.microsoft.nchwc";

/** The runtime reorders channels by fours. */
const channelsOfReorder = 4;

/** Channels in whole blocks. */
export function blockedChannels(channels: number, block: number): number {
  return Math.ceil(channels / block) * block;
}

export function isPicture({ shape, hasRows }: Value): boolean {
  return hasRows && shape.length === 3;
}

export function placesOf({ shape: [height = 0, width = 0] }: Value): number {
  return height * width;
}

/** The layout in which an operation that can take any computes: pictures in blocks, unless all operands lie plain so far, as what enters the graph does. */
export function layoutOfOperands(walk: Walk, operands: readonly Value[]): Layout {
  const isInBlocks = operands.some((operand) => isPicture(operand) && (walk.has(operand, "blocked") || walk.has(operand, "nchw")));
  return isInBlocks ? "blocked" : "plain";
}

/** A tensor with zeros after its ends, up to `target`. */
export function filledUp(graph: GraphBuilder, name: string, shape: readonly number[], target: readonly number[]): string {
  if (shape.every((length, axis) => length === target[axis])) return name;
  const pads = [...shape.map(() => 0), ...shape.map((length, axis) => (target[axis] ?? length) - length)];
  return graph.node("Pad", [name, graph.integers(pads), graph.scalar(0)], { mode: { string: "constant" } });
}

/** The first `length` entries along an axis that has `whole`. */
export function firstOf(graph: GraphBuilder, name: string, axis: number, length: number, whole: number): string {
  if (length === whole) return name;
  return graph.node("Slice", [name, graph.integers([0]), graph.integers([length]), graph.integers([axis])]);
}

/** `[n, 1, C]`: `weight` times the sums over the second axis of `[n, length, C]`. By a product: the order of a plain sum depends on n and on the number of threads. */
export function weightedSum(graph: GraphBuilder, name: string, length: number, weight: number): string {
  const weights = graph.floats(`row_of_${weight}/${length}`, [1, length], new Float32Array(length).fill(weight));
  return graph.node("MatMul", [weights, name]);
}

export function convertBlocked(block: number): Lowering["convert"] {
  return (graph, value, name, rows, from, to) => {
    if (from !== "blocked" && to !== "blocked") return convertPortable(graph, value, name, rows, from, to);
    assert(isPicture(value), `only pictures are blocked, found [${value.shape.join(", ")}]`);
    const channels = channelsOf(value);
    const reordered = Math.ceil(channels / channelsOfReorder) * channelsOfReorder;
    const other = from === "blocked" ? to : from;
    assert(other === "plain" || other === "nchw");
    const axis = other === "plain" ? 3 : 1;
    const channelsLast = { channels_last: { int: other === "plain" ? 1 : 0 } };
    if (from === "blocked") {
      const pictures = graph.node("ReorderOutput", [name], { channels: { int: reordered }, ...channelsLast }, undefined, nchwcDomain);
      return firstOf(graph, pictures, axis, channels, reordered);
    }
    const [height = 0, width = 0] = value.shape;
    const shapeOf = (length: number): number[] => (other === "plain" ? [rows, height, width, length] : [rows, length, height, width]);
    const filled = filledUp(
      graph,
      name,
      shapeOf(channels),
      shapeOf(channels % channelsOfReorder === 0 ? channels : blockedChannels(channels, block)),
    );
    return graph.node("ReorderInput", [filled], channelsLast, undefined, nchwcDomain);
  };
}
