import { strict as assert } from "node:assert";
import type { Value } from "../../../../domain/network/gradient/program.js";
import type { GraphBuilder } from "../../../../formats/onnx/graph-builder.js";
import type { Emitters } from "./lowering.js";
import type { Walk } from "./walk.js";

/**
 * Narrower matrices are padded with zeros up to this width, the longest vector of any CPU. A single column is multiplied by another kernel, in which the last rows
 * round in another order than the others (seen on x64), so that a row's bits would depend on how many rows share the call.
 */
export const columnsMin = 16;

/** Longest inner dimension that the matrix product adds up in one go. */
export const productBlock = 128;

/**
 * Dense products. Every product that sums over rows has the shape of one grain, so its bits cannot depend on how many grains share the call.
 * On more than one thread a long product of few columns is added up in other blocks for other counts of threads, but not where its left matrix comes transposed (MLAS, seen on x64): there it does.
 */
export function productEmitters(threads: "one" | "any"): Emitters<"product" | "productInputGradient" | "productKernelGradient"> {
  return {
    product(walk, { operands: [x, kernel, bias], result }) {
      assert(x && kernel);
      const product = rowsTimes(walk.graph, walk.as(x, "plain"), walk.as(kernel, "plain"), {
        inner: lengthOf(x),
        columns: lengthOf(result),
        transposed: false,
        threads,
        bias: bias && walk.as(bias, "plain"),
      });
      walk.give(result, "plain", product);
    },

    productInputGradient(walk, { operands: [dy, kernel], result }) {
      assert(dy && kernel);
      const options = { inner: lengthOf(dy), columns: lengthOf(result), transposed: true, threads };
      walk.give(result, "plain", rowsTimes(walk.graph, walk.as(dy, "plain"), walk.as(kernel, "plain"), options));
    },

    productKernelGradient(walk, { operands: [x, dy], result }) {
      assert(x && dy);
      const [rowsIn, rowsOut] = [lengthOf(x), lengthOf(dy)];
      // A product of one column or row takes another path, and a long one is added up in blocks; both would round in another order than product first, sum then.
      const sumsInProduct = rowsIn >= 2 && rowsOut >= 2 && walk.options.grainRows <= productBlock;
      // A product is fastest when its long side lies in columns, by a factor of two for few classes. Only the network's shape decides, so bits stay the same.
      const isTurned = rowsOut * 4 <= rowsIn;
      const product = (grain: number, addend?: string): string => {
        const [left, right] = isTurned ? [dy, x] : [x, dy];
        const factors = [walk.part(left, "plain", grain), walk.part(right, "plain", grain)];
        return walk.graph.node("Gemm", addend === undefined ? factors : [...factors, addend], { transA: { int: 1 } });
      };
      const layout = isTurned ? "turned" : "plain";
      walk.giveGrains(result, layout, {
        part: (grain) => product(grain),
        ...(sumsInProduct && { pair: (first) => product(first + 1, walk.part(result, layout, first)) }),
      });
    },
  };
}

/** The sum of a vector over the rows of each grain, for all grains at once. */
export function sumVectors(walk: Walk, dy: Value, result: Value): void {
  const { graph } = walk;
  const { grains, grainRows } = walk.options;
  const byGrain = graph.node("Reshape", [walk.as(dy, "plain"), graph.integers([grains, grainRows, lengthOf(dy)])]);
  const ones = graph.floats("row_of_ones", [1, grainRows], new Float32Array(grainRows).fill(1));
  walk.giveStack(result, graph.node("MatMul", [ones, byGrain]));
}

interface RowsTimes {
  readonly inner: number;
  readonly columns: number;
  readonly transposed: boolean;
  readonly threads: "one" | "any";
  readonly bias?: string | undefined;
}

/** `rows x matrix`, or `rows x matrix^T` where `transposed` holds, plus the bias; a row of the result has the same bits whatever other rows there are (at least 2). */
function rowsTimes(graph: GraphBuilder, rows: string, matrix: string, { inner, columns, transposed, threads, bias }: RowsTimes): string {
  const isTurned = threads === "any" && inner > productBlock;
  const left = isTurned ? graph.node("Transpose", [rows], { perm: { ints: [1, 0] } }) : rows;
  const attributes = { transA: { int: isTurned ? 1 : 0 }, transB: { int: transposed ? 1 : 0 } };
  if (columns >= columnsMin) return graph.node("Gemm", [left, matrix, ...(bias ? [bias] : [])], attributes);
  const missing = columnsMin - columns;
  const padding = graph.integers(transposed ? [0, 0, missing, 0] : [0, 0, 0, missing]);
  const padded = graph.node("Pad", [matrix, padding, graph.scalar(0)], { mode: { string: "constant" } });
  const paddedBias = bias && graph.node("Pad", [bias, graph.integers([0, missing]), graph.scalar(0)], { mode: { string: "constant" } });
  const product = graph.node("Gemm", [left, padded, ...(paddedBias ? [paddedBias] : [])], attributes);
  return graph.node("Slice", [product, graph.integers([0]), graph.integers([columns]), graph.integers([1])]);
}

function lengthOf({ shape }: Value): number {
  const [length] = shape;
  assert(length !== undefined && shape.length === 1, `a vector is needed, found [${shape.join(", ")}]`);
  return length;
}
