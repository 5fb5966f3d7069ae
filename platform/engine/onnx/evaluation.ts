import { strict as assert } from "node:assert";
import type { Tensor } from "onnxruntime-node";
import type { Shape, Tensor as Activation } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { parameterLayout } from "../../../domain/training/parameters.js";
import { GraphBuilder } from "../../../formats/onnx/graph-builder.js";
import type { Evaluation, EvaluationInput, Trainable } from "../engine.js";
import { denseChain, encodeChain, encodeRowLosses, targetColumns, valueOf } from "./dense-chain.js";
import { gradientThreads, wrapParameters } from "./gradient.js";
import { createSession, type Runtime } from "./runtime.js";
import { sumRowLosses, Targets } from "../row-sums.js";

/** Logits, loss and correct count of a dense chain with parameters as inputs; see `Engine.compileEvaluation`. */
export async function compileEvaluation(runtime: Runtime, trainable: Trainable, rows: number): Promise<Evaluation> {
  const { loss } = trainable;
  assert(Number.isInteger(rows) && rows >= 2, `an evaluation has at least 2 rows a call, found ${rows}`);
  const chain = denseChain(trainable);
  const layout = parameterLayout(trainable.network);
  const columns = targetColumns(chain, loss);
  const shapes = layerShapes(trainable.network);

  const graph = new GraphBuilder();
  const values = encodeChain(graph, chain, rows, false);
  // Those that have weights or are an activation; dropout and flatten only pass on what is there.
  const shown = chain.steps
    .filter(({ layer }) => layer.kind !== "dropout" && layer.kind !== "flatten")
    .map(({ layer, rowsOut }) => ({ name: layer.name, units: rowsOut, shape: [rows, ...(shapes.get(layer.name) as Shape)] }));
  for (const { name, units } of shown) {
    graph.node("Identity", [valueOf(values, name)], {}, `activation/${name}`);
    graph.output(`activation/${name}`, "float32", [rows, units]);
  }
  const logits = valueOf(values, trainable.network.output);
  encodeRowLosses(graph, logits, rows, columns, loss);
  graph.node("Identity", [logits], {}, "logits");
  graph.output("logits", "float32", [rows, chain.logits]);
  const session = await createSession(runtime, graph.encode(`evaluation of ${chain.name}`), gradientThreads, {
    graphOptimizationLevel: "disabled",
  });

  const float = (data: Float32Array, dims: readonly number[]): Tensor => new runtime.Tensor("float32", data, dims);
  const targets = new Targets(rows, columns, loss);

  function feedsOf({ parameters, features, labels, rowWeights }: EvaluationInput): Record<string, Tensor> {
    assert.equal(
      parameters.length,
      layout.length,
      `evaluation of ${chain.name}: parameters must hold ${layout.length} values, found ${parameters.length}`,
    );
    assert.equal(
      features.length,
      rows * chain.features,
      `evaluation of ${chain.name}: features must hold ${rows * chain.features} values, found ${features.length}`,
    );
    assert(features instanceof Float32Array, `evaluation of ${chain.name}: features must be float32`);
    targets.write(labels, rowWeights);
    const feeds = { features: float(features, [rows, chain.features]), targets: float(targets.data, [rows, columns]) };
    wrapParameters(layout, parameters, float, feeds);
    return feeds;
  }

  return {
    rows,
    async run(input) {
      const results = await session.run(feedsOf(input), ["rowLoss", "predicted", "logits"]);
      const [rowLoss, predicted, output] = [results["rowLoss"]?.data, results["predicted"]?.data, results["logits"]?.data];
      assert(rowLoss instanceof Float32Array && predicted instanceof Int32Array && output instanceof Float32Array);
      return { ...sumRowLosses(rowLoss, predicted, input, 1), logits: output };
    },
    async activations(input) {
      const results = await session.run(
        feedsOf(input),
        shown.map(({ name }) => `activation/${name}`),
      );
      return new Map(
        shown.map(({ name, shape }): [string, Activation] => {
          const data = results[`activation/${name}`]?.data;
          assert(data instanceof Float32Array);
          return [name, { shape, data }];
        }),
      );
    },
    release: () => session.release(),
  };
}
