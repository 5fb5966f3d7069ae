import { strict as assert } from "node:assert";
import { elementCount } from "../../../../domain/network/network.js";
import { inputEmitters } from "./inputs.js";
import type { Emitters } from "./lowering.js";
import { outputGradient } from "./loss.js";
import { parameterEmitters } from "./parameters.js";
import { columnsMin, productEmitters } from "./products.js";

/** Operations on the last axis of plain values, and changes of shape. */
const rowEmitters: Emitters<"softmax" | "softmaxGradient" | "reshape" | "countedRows"> = {
  softmax(walk, { operands: [x], result }) {
    assert(x);
    walk.give(result, "plain", walk.graph.node("Softmax", [walk.as(x, "plain")], { axis: { int: -1 } }));
  },

  /** (dy - sum over channels of dy x y) x y. The sum is a product: it has the same bits wherever a row lies. */
  softmaxGradient(walk, { operands: [dy, y], result }) {
    assert(dy && y);
    const { graph } = walk;
    const [of, by] = [walk.as(dy, "plain"), walk.as(y, "plain")];
    const channels = result.shape.at(-1) ?? 0;
    const ones = graph.floats(`ones/${channels}`, [channels, columnsMin], new Float32Array(channels * columnsMin).fill(1));
    const terms = graph.node("Reshape", [graph.node("Mul", [of, by]), graph.integers([-1, channels])]);
    const sums = graph.node("Slice", [graph.node("Gemm", [terms, ones]), graph.integers([0]), graph.integers([1]), graph.integers([1])]);
    const sum = graph.node("Reshape", [sums, graph.integers([walk.rows, ...result.shape.slice(0, -1), 1])]);
    walk.give(result, "plain", graph.node("Mul", [graph.node("Sub", [of, sum]), by]));
  },

  reshape(walk, { operands: [x], result }) {
    assert(x && elementCount(x.shape) === elementCount(result.shape));
    const shape = walk.graph.integers(result.hasRows ? [walk.rows, ...result.shape] : result.shape);
    walk.give(result, "plain", walk.graph.node("Reshape", [walk.as(x, "plain"), shape]));
  },

  /** Only rows that count enter a graph whose batch norm has statistics of the batch; other graphs have no such operation. */
  countedRows(walk, { operands: [x], result }) {
    assert(x);
    walk.giveAs(result, x);
  },
};

/** What every lowering can share: none of it depends on how pictures lie in memory. */
export const commonEmitters = { ...inputEmitters, outputGradient, ...productEmitters, ...parameterEmitters, ...rowEmitters };
