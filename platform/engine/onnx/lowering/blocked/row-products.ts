import type { Value, Window } from "../../../../../domain/network/gradient/program.js";
import { channelsOf } from "../portable/windows.js";
import { columnsMin, productBlock, rowsTimes } from "../products.js";
import type { Walk } from "../walk.js";
import { isPoint } from "./convolve.js";
import { liesInRows, placesOf } from "./layouts.js";

/** Whether a convolution, or its way back, from `from` to `to`, is a product of rows: its window is a point, the picture lies in rows, and both sides have many channels. */
export function isProductOfRows(from: Value, to: Value, window: Window): boolean {
  return isPoint(window) && liesInRows(from) && liesInRows(to) && Math.min(channelsOf(from), channelsOf(to)) >= productBlock;
}

/** x times the kernel, or times its transpose, plus the bias. */
export function productOfRows(
  walk: Walk,
  x: Value,
  kernel: Value,
  result: Value,
  { transposed, bias }: { readonly transposed: boolean; readonly bias?: Value | undefined },
): string {
  const { graph, options } = walk;
  const columns = channelsOf(result);
  const rows = graph.node("Reshape", [walk.as(x, "plain"), graph.integers([-1, channelsOf(x)])]);
  const matrix = graph.node("Reshape", [walk.as(kernel, "plain"), graph.integers(kernel.shape.slice(2))]);
  // Threads share out the longer side: where that is the rows, their number does not show.
  const isSharedByRows = walk.rows * placesOf(x) >= columns;
  const product = rowsTimes(graph, rows, matrix, {
    columns,
    columnsMin: isSharedByRows ? columnsMin : options.productColumns,
    transposed,
    bias: bias && walk.as(bias, "plain"),
  });
  return graph.node("Reshape", [product, graph.integers([walk.rows, ...result.shape])]);
}
