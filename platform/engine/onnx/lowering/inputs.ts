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
    const [height = 0, width = 0, channels = 0] = result.shape;
    // Whole lines at a time: numbers for three channels are a short vector.
    const lines = graph.node("Reshape", [pixels, graph.integers([walk.rows * height, width * channels])]);
    const ofLine = (name: string, values: readonly number[]): string =>
      graph.floats(
        `preprocessing/${name}`,
        [width * channels],
        Float32Array.from({ length: width * channels }, (_, i) => values[i % channels] ?? 0),
      );
    const centred = graph.node("Sub", [graph.node("Cast", [lines], { to: { int: 1 } }), ofLine("mean", preprocessing.mean)]);
    const scaled = graph.node("Div", [centred, ofLine("deviation", preprocessing.deviation)]);
    walk.give(result, "plain", graph.node("Reshape", [scaled, graph.integers(dimensions)]));
  },
  parameter: (walk, { primitive, result }) => walk.give(result, "plain", walk.graph.input(primitive.name, "float32", result.shape)),
  statistic: (walk, { primitive, result }) => walk.give(result, "plain", walk.graph.input(primitive.name, "float32", result.shape)),
  mask: (walk, { primitive, result }) =>
    walk.give(result, "plain", walk.graph.input(`${primitive.layer}/mask`, "float32", [walk.rows, ...result.shape])),
};
