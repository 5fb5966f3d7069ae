import { strict as assert } from "node:assert";
import { limits } from "../../../../domain/limits.js";
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

/** The most threads that can share a product of so many columns without padding; at least one. */
export function threadsFor(columns: number): number {
  return Math.max(1, Math.floor(columns / columnsOfThread));
}

/** Longest inner dimension that the matrix product adds up in one go. */
const productBlock = 128;

/** Dense products. Every product that sums over rows has the shape of one grain, so its bits cannot depend on how many grains share the call. */
export const productEmitters: Emitters<"product" | "productInputGradient" | "productKernelGradient"> = {
  product(walk, { operands: [x, kernel, bias], result }) {
    assert(x && kernel);
    if (isMultipliedInBlocks(kernel, walk.options.grainRows)) {
      const product = productInBlocks(walk, walk.as(x, "plain"), walk.as(kernel, "plain"), kernel);
      walk.give(result, "plain", bias ? walk.graph.node("Add", [product, walk.as(bias, "plain")]) : product);
      return;
    }
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
    // A product is fastest when its long side lies in columns, by a factor of two for few classes; but a large kernel is better not turned afterwards. Only the network's shape decides, so bits stay the same.
    const isTurned = rowsOut * 4 <= rowsIn && rowsIn * rowsOut < limits.largeKernelElements;
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

/** Up to so many rows a product takes as long as its kernel takes to be read, and its blocks' results are less than half of the kernel. */
const rowsOfBlocks = 64;

/** A large kernel is brought into order for the matrix product in blocks of columns, each row far from the next; that takes longer than the product with a few rows. Grain and network decide. */
function isMultipliedInBlocks({ shape: [inputs = 0, units = 0] }: Value, grainRows: number): boolean {
  return inputs * units >= limits.largeKernelElements && grainRows <= rowsOfBlocks && inputs % productBlock === 0;
}

/** The products of `productBlock` rows of the kernel each, which lie in one piece of memory, and then their sum, in the order in which the one product would add them up. */
function productInBlocks({ graph, rows }: Walk, x: string, kernel: string, { shape: [inputs = 0, units = 0] }: Value): string {
  const blocks = inputs / productBlock;
  const columns = graph.node("Reshape", [x, graph.integers([rows, blocks, productBlock])]);
  const left = graph.node("Transpose", [columns], { perm: { ints: [1, 0, 2] } });
  const right = graph.node("Reshape", [kernel, graph.integers([blocks, productBlock, units])]);
  return graph.node("ReduceSum", [graph.node("MatMul", [left, right]), graph.integers([0])], { keepdims: { int: 0 } });
}

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
