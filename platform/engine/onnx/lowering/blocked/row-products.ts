import type { Value, Window } from "../../../../../domain/network/gradient/program.js";
import { channelsOf } from "../portable/windows.js";
import { productBlock } from "../products.js";
import type { Walk } from "../walk.js";
import { liesInRows, placesOf } from "./layouts.js";

/**
 * Columns from which on a product that is shared out by columns has the same bits for any number of threads that gradients run on: each then has more than 64, and adds in blocks of 128.
 */
const columnsOfAnyThreads = 320;

/**
 * Whether a convolution, or its way back, from `from` to `to`, is a product of rows: its window is a point, the picture lies in rows, and the bits depend neither on threads nor on grains in the call.
 */
export function isProductOfRows(walk: Walk, from: Value, to: Value, window: Window): boolean {
  if (Math.max(...window.size, ...window.strides) > 1 || !liesInRows(from) || !liesInRows(to)) return false;
  const [inner, columns] = [channelsOf(from), channelsOf(to)];
  const isWide = Math.min(inner, columns) >= productBlock;
  return isWide && (columns >= columnsOfAnyThreads || walk.options.grainRows * placesOf(from) >= columns);
}

/** x times the kernel, or times its transpose, plus the bias. */
export function productOfRows(
  walk: Walk,
  x: Value,
  kernel: Value,
  result: Value,
  { transposed, bias }: { readonly transposed: boolean; readonly bias?: Value | undefined },
): string {
  const { graph } = walk;
  const rows = graph.node("Reshape", [walk.as(x, "plain"), graph.integers([-1, channelsOf(x)])]);
  const matrix = graph.node("Reshape", [walk.as(kernel, "plain"), graph.integers(kernel.shape.slice(2))]);
  const operands = [rows, matrix, ...(bias ? [walk.as(bias, "plain")] : [])];
  const product = graph.node("Gemm", operands, { transB: { int: transposed ? 1 : 0 } });
  return graph.node("Reshape", [product, graph.integers([walk.rows, ...result.shape])]);
}
