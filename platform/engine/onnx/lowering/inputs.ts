import type { GraphBuilder } from "../../../../formats/onnx/graph-builder.js";
import type { Emitters } from "./lowering.js";

/** What enters a graph: `features`, parameters and statistics by their names, and `LAYER/mask`; all plain. */
export const inputEmitters: Emitters<"features" | "parameter" | "statistic" | "mask"> = {
  features(walk, { result }) {
    const { graph } = walk;
    const { preprocessing } = walk.options;
    const dimensions = [walk.rows, ...result.shape];
    if (preprocessing === undefined) {
      walk.give(result, "plain", graph.input("features", "float32", dimensions));
      return;
    }
    let pixels = graph.input("features", "uint8", dimensions);
    if (preprocessing.channels === "BGR") pixels = graph.node("Gather", [pixels, graph.integers([2, 1, 0])], { axis: { int: 3 } });
    const centred = graph.node("Sub", [graph.node("Cast", [pixels], { to: { int: 1 } }), perChannel(graph, "mean", preprocessing.mean)]);
    walk.give(result, "plain", graph.node("Div", [centred, perChannel(graph, "deviation", preprocessing.deviation)]));
  },
  parameter: (walk, { primitive, result }) => walk.give(result, "plain", walk.graph.input(primitive.name, "float32", result.shape)),
  statistic: (walk, { primitive, result }) => walk.give(result, "plain", walk.graph.input(primitive.name, "float32", result.shape)),
  mask: (walk, { primitive, result }) =>
    walk.give(result, "plain", walk.graph.input(`${primitive.layer}/mask`, "float32", [walk.rows, ...result.shape])),
};

/** One number where all channels have the same: twice as fast, with the same bits. */
function perChannel(graph: GraphBuilder, name: string, values: readonly number[]): string {
  const [first] = values;
  if (first !== undefined && values.every((value) => value === first)) return graph.scalar(first);
  return graph.floats(`preprocessing/${name}`, [values.length], Float32Array.from(values));
}
