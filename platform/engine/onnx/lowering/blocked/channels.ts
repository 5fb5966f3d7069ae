import { strict as assert } from "node:assert";
import type { Value } from "../../../../../domain/network/gradient/program.js";
import type { Emitters } from "../lowering.js";
import { channelEmitters as portable } from "../portable/channels.js";
import { channelsOf, zeroPadded } from "../portable/windows.js";
import type { Walk } from "../walk.js";
import { croppedPlaces } from "./convolutions.js";
import { convolve, joined, point } from "./convolve.js";
import { blockedVector, vectorFilter } from "./filters.js";
import { blockedChannels, firstOf, isPicture, layoutOfOperands, nchwcDomain, placesOf, weightedSum } from "./layouts.js";

/** Numbers for each channel: along the last axis where pictures lie in rows; in blocks, by convolutions of each channel alone. */
export function channelEmitters(
  block: number,
): Emitters<"sumOverRows" | "dotOverRows" | "varianceOverRows" | "scaleChannels" | "addScaled" | "concat" | "channels" | "pad" | "crop"> {
  return {
    sumOverRows(walk, operation) {
      const { operands: [x], result } = operation; // prettier-ignore
      assert(x);
      if (!isPicture(x)) portable.sumOverRows(walk, operation);
      else if (layoutOfOperands(walk, [x]) === "blocked")
        giveSumOfBlocks(walk, result, sumOverPlaces(walk, x, walk.as(x, "blocked"), block), block);
      else giveSumOfRows(walk, result, walk.as(x, "plain"), x);
    },

    dotOverRows(walk, operation) {
      const { operands: [a, b, centre], result } = operation; // prettier-ignore
      assert(a && b);
      if (!isPicture(a)) portable.dotOverRows(walk, operation);
      else if (layoutOfOperands(walk, [a, b]) === "blocked")
        giveSumOfBlocks(walk, result, dotOverPlaces(walk, a, walk.as(a, "blocked"), centred(walk, b, centre, block), block), block);
      else giveSumOfRows(walk, result, walk.graph.node("Mul", [walk.as(a, "plain"), minus(walk, b, centre)]), a);
    },

    varianceOverRows(walk, operation) {
      const { operands: [x, mean], result } = operation; // prettier-ignore
      assert(x && mean);
      if (!isPicture(x)) {
        portable.varianceOverRows(walk, operation);
        return;
      }
      const { graph } = walk;
      const share = graph.scalar(1 / (walk.options.grainRows * placesOf(x)));
      const scaled = (name: string): string => graph.node("Mul", [name, share]);
      if (layoutOfOperands(walk, [x]) === "blocked") {
        const deviations = centred(walk, x, mean, block);
        giveSumOfBlocks(walk, result, dotOverPlaces(walk, x, deviations, deviations, block), block, scaled);
      } else {
        const deviations = minus(walk, x, mean);
        giveSumOfRows(walk, result, graph.node("Mul", [deviations, deviations]), x, scaled);
      }
    },

    scaleChannels(walk, operation) {
      const { operands: [x, scale, offset], result: ownResult } = operation; // prettier-ignore
      assert(x && scale);
      const { graph } = walk;
      if (layoutOfOperands(walk, [x]) === "blocked") {
        const { result, ...more } = joined(walk, ownResult);
        const [filter, bias] = [vectorFilter(walk, scale, block), offset && blockedVector(walk, offset, block)];
        const groups = blockedChannels(channelsOf(x), block);
        walk.give(result, "blocked", convolve(graph, { x: walk.as(x, "blocked"), filter, bias, window: point, groups, ...more }));
        return;
      }
      const scaled = graph.node("Mul", [walk.as(x, "plain"), walk.as(scale, "plain")]);
      walk.give(ownResult, "plain", offset ? graph.node("Add", [scaled, walk.as(offset, "plain")]) : scaled);
    },

    addScaled(walk, { operands: [a, b, q, r], result }) {
      assert(a && b && q && r);
      const { graph } = walk;
      if (layoutOfOperands(walk, [a, b]) === "blocked") {
        const [filter, bias] = [vectorFilter(walk, q, block), blockedVector(walk, r, block)];
        const more = { sum: walk.as(a, "blocked"), window: point, groups: blockedChannels(channelsOf(a), block) };
        walk.give(result, "blocked", convolve(graph, { x: walk.as(b, "blocked"), filter, bias, ...more }));
        return;
      }
      const scaled = graph.node("Mul", [walk.as(b, "plain"), walk.as(q, "plain")]);
      walk.give(result, "plain", graph.node("Add", [graph.node("Add", [walk.as(a, "plain"), scaled]), walk.as(r, "plain")]));
    },

    concat(walk, { operands, result }) {
      const { graph } = walk;
      const isWhole = operands.every((operand) => channelsOf(operand) % block === 0);
      const layout = isWhole ? layoutOfOperands(walk, operands) : "plain";
      const parts = operands.map((operand) => walk.as(operand, layout));
      walk.give(result, layout, graph.node("Concat", parts, { axis: { int: layout === "blocked" ? 1 : result.shape.length } }));
    },

    channels(walk, { primitive: { first }, operands: [x], result }) {
      assert(x);
      const { graph } = walk;
      const isWhole = first % block === 0 && channelsOf(result) % block === 0;
      const layout = isWhole ? layoutOfOperands(walk, [x]) : "plain";
      const bounds = [[first], [first + channelsOf(result)], [layout === "blocked" ? 1 : x.shape.length]];
      walk.give(result, layout, graph.node("Slice", [walk.as(x, layout), ...bounds.map((values) => graph.integers(values))]));
    },

    pad(walk, { primitive: { padding }, operands: [x], result }) {
      assert(x);
      if (layoutOfOperands(walk, [x]) !== "blocked")
        walk.give(result, "plain", zeroPadded(walk.graph, walk.as(x, "plain"), "plain", padding));
      else onPlaces(walk, x, result, block, (places) => zeroPadded(walk.graph, places, "plain", padding));
    },

    crop(walk, { primitive: { padding }, operands: [x], result }) {
      assert(x);
      const [height = 0, width = 0] = result.shape;
      const kept = (places: string): string => croppedPlaces(walk.graph, places, [padding.top, padding.left], [height, width]);
      if (layoutOfOperands(walk, [x]) !== "blocked") walk.give(result, "plain", kept(walk.as(x, "plain")));
      else onPlaces(walk, x, result, block, kept);
    },
  };
}

/** An operation on places, `[…, h, w, …]`, of a blocked picture. */
function onPlaces(walk: Walk, x: Value, result: Value, block: number, emit: (places: string) => string): void {
  const { graph, rows } = walk;
  const all = blockedChannels(channelsOf(x), block);
  const [height = 0, width = 0] = x.shape;
  const places = graph.node("Reshape", [walk.as(x, "blocked"), graph.integers([(rows * all) / block, height, width, block])]);
  const [newHeight = 0, newWidth = 0] = result.shape;
  walk.give(result, "blocked", graph.node("Reshape", [emit(places), graph.integers([rows, all, newHeight, newWidth])]));
}

/** b - centre, blocked. */
function centred(walk: Walk, b: Value, centre: Value | undefined, block: number): string {
  const x = walk.as(b, "blocked");
  if (centre === undefined) return x;
  return walk.derived(b, `blocked, less ${centre.id}`, () => {
    const { graph } = walk;
    const groups = blockedChannels(channelsOf(b), block);
    const ones = graph.floats(`ones/${groups}x1x1x1`, [groups, 1, 1, 1], new Float32Array(groups).fill(1));
    const bias = walk.derived(centre, "blocked, negative", () => graph.node("Neg", [blockedVector(walk, centre, block)]));
    return convolve(graph, { x, filter: ones, bias, window: point, groups });
  });
}

/** b - centre, in rows. */
function minus(walk: Walk, b: Value, centre: Value | undefined): string {
  return centre ? walk.graph.node("Sub", [walk.as(b, "plain"), walk.as(centre, "plain")]) : walk.as(b, "plain");
}

/** `[rows x C', h]`, in blocks: the sum of a x b along each line of places; one convolution for each line, whose input is a and whose kernel is b. */
function dotOverPlaces(walk: Walk, like: Value, a: string, b: string, block: number): string {
  const { graph, rows } = walk;
  const [height = 0, width = 0] = like.shape;
  const groups = rows * blockedChannels(channelsOf(like), block) * height;
  const line = graph.node("Reshape", [a, graph.integers([1, groups, 1, width])]);
  const kernel = graph.node("Reshape", [b, graph.integers([groups, 1, 1, width])]);
  const sums = convolve(graph, { x: line, filter: kernel, window: { ...point, size: [1, width] }, groups });
  return sumOverLength(walk, like, sums, height, block);
}

/** `[rows, C']`: the sum over the places. */
function sumOverPlaces(walk: Walk, like: Value, name: string, block: number): string {
  return sumOverLength(walk, like, name, placesOf(like), block);
}

/** By the mean that a pooling gives: of a plain sum the order would depend on the number of threads. */
function sumOverLength(walk: Walk, like: Value, name: string, length: number, block: number): string {
  const { graph, rows } = walk;
  const all = blockedChannels(channelsOf(like), block);
  const lines = graph.node("Reshape", [name, graph.integers([rows, all, length, 1])]);
  const means = graph.node("GlobalAveragePool", [lines], {}, undefined, nchwcDomain);
  return graph.node("Mul", [means, graph.scalar(length)]);
}

/** Sums over the rows of each grain, `[grains, 1, C]`, of what holds one number for each channel of each row. */
function giveSumOfBlocks(walk: Walk, result: Value, ofRows: string, block: number, then: (name: string) => string = (name) => name): void {
  const { graph } = walk;
  const { grains, grainRows } = walk.options;
  const channels = channelsOf(result);
  const byGrain = graph.node("Reshape", [ofRows, graph.integers([grains, grainRows, -1])]);
  const sums = weightedSum(graph, byGrain, grainRows, 1);
  walk.giveStack(result, then(firstOf(graph, sums, 2, channels, blockedChannels(channels, block))));
}

/** Sums over rows and places of each grain, of a picture in rows. */
function giveSumOfRows(walk: Walk, result: Value, name: string, like: Value, then: (name: string) => string = (each) => each): void {
  const { graph } = walk;
  const { grains, grainRows } = walk.options;
  const byGrain = graph.node("Reshape", [name, graph.integers([grains, grainRows * placesOf(like), channelsOf(like)])]);
  walk.giveStack(result, then(weightedSum(graph, byGrain, grainRows * placesOf(like), 1)));
}
