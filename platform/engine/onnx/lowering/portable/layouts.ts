import type { Value } from "../../../../../domain/network/gradient/program.js";
import type { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import type { Layout } from "../lowering.js";

/** How the portable lowering holds a value. */
export function portableLayout({ shape, hasRows }: Value): Layout {
  return hasRows && shape.length === 3 ? "nchw" : "plain";
}

export function convertPortable(graph: GraphBuilder, value: Value, name: string, _rows: number, from: Layout, to: Layout): string {
  if (from === "plain" && to === "nchw" && value.shape.length === 3) return transposed(graph, name, [0, 3, 1, 2]);
  if (from === "nchw" && to === "plain") return transposed(graph, name, [0, 2, 3, 1]);
  if (from === "turned" && to === "plain") {
    const plain = transposed(graph, name, [1, 0]);
    return value.shape.length === 2 ? plain : graph.node("Reshape", [plain, graph.integers(value.shape)]);
  }
  throw new Error(`no way from ${from} to ${to} for a value of shape [${value.shape.join(", ")}]`);
}

export function transposed(graph: GraphBuilder, name: string, perm: readonly number[]): string {
  return graph.node("Transpose", [name], { perm: { ints: perm } });
}
