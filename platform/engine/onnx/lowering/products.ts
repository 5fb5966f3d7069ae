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

/** Columns of one thread, above which the matrix product adds up in blocks of `productBlock`; with fewer, the blocks are longer. Columns are shared out in whole sixteens. */
const columnsOfThread = 80;

/**
 * The columns that dense products are padded to in a graph that `threads` threads run: so many that the number of threads does not show in the bits. A graph that always has one thread, as
 * those of dense layers only, does without.
 */
export function columnsFor(threads: number | "one, always"): number {
  return threads === "one, always" ? columnsMin : threads * columnsOfThread;
}

/** Longest inner dimension that the matrix product adds up in one go. */
const productBlock = 128;

/** Dense products. Every product that sums over rows has the shape of one grain, so its bits cannot depend on how many grains share the call. */
export const productEmitters: Emitters<"product" | "productInputGradient" | "productKernelGradient"> = {
  product(walk, { operands: [x, kernel, bias], result }) {
    assert(x && kernel);
    const product = rowsTimes(walk.graph, walk.as(x, "plain"), walk.as(kernel, "plain"), {
      columns: lengthOf(result),
      columnsMin: walk.options.productColumns,
      transposed: false,
      bias: bias && walk.as(bias, "plain"),
    });
    walk.give(result, "plain", product);
  },

  productInputGradient(walk, { operands: [dy, kernel], result }) {
    assert(dy && kernel);
    const options = { columns: lengthOf(result), columnsMin: walk.options.productColumns, transposed: true };
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

/** The sum of a vector over the rows of each grain, for all grains at once. */
export function sumVectors(walk: Walk, dy: Value, result: Value): void {
  const { graph } = walk;
  const { grains, grainRows } = walk.options;
  const byGrain = graph.node("Reshape", [walk.as(dy, "plain"), graph.integers([grains, grainRows, lengthOf(dy)])]);
  const ones = graph.floats("row_of_ones", [1, grainRows], new Float32Array(grainRows).fill(1));
  walk.giveStack(result, graph.node("MatMul", [ones, byGrain]));
}

/** `rows x matrix`, or `rows x matrix^T` where `transposed` holds, plus the bias; a row of the result has the same bits whatever other rows there are (at least 2). */
export function rowsTimes(graph: GraphBuilder, rows: string, matrix: string, options: RowsTimes): string {
  const { columns, columnsMin: least, transposed, bias } = options;
  const attributes = { transB: { int: transposed ? 1 : 0 } };
  if (columns >= least) return graph.node("Gemm", [rows, matrix, ...(bias ? [bias] : [])], attributes);
  const missing = least - columns;
  const padding = graph.integers(transposed ? [0, 0, missing, 0] : [0, 0, 0, missing]);
  const padded = graph.node("Pad", [matrix, padding, graph.scalar(0)], { mode: { string: "constant" } });
  const paddedBias = bias && graph.node("Pad", [bias, graph.integers([0, missing]), graph.scalar(0)], { mode: { string: "constant" } });
  const product = graph.node("Gemm", [rows, padded, ...(paddedBias ? [paddedBias] : [])], attributes);
  return graph.node("Slice", [product, graph.integers([0]), graph.integers([columns]), graph.integers([1])]);
}

export interface RowsTimes {
  readonly columns: number;
  /** Padded to these where there are fewer. */
  readonly columnsMin: number;
  readonly transposed: boolean;
  readonly bias?: string | undefined;
}

function lengthOf({ shape }: Value): number {
  const [length] = shape;
  assert(length !== undefined && shape.length === 1, `a vector is needed, found [${shape.join(", ")}]`);
  return length;
}
