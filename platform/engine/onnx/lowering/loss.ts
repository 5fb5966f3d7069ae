import { strict as assert } from "node:assert";
import type { LossSpec } from "../../../../domain/training/loss.js";
import type { GraphBuilder } from "../../../../formats/onnx/graph-builder.js";
import type { Emitter } from "./lowering.js";
import { columnsMin } from "./products.js";

/**
 * Adds the input `targets` [rows, columns] and the outputs `rowLoss` [rows, 1], unweighted, and `predicted` [rows]; columns are the classes, or 2 for a single sigmoid.
 * Returns the logits as a softmax sees them, [rows, columns]: a single sigmoid of z is the softmax of (0, z).
 * All reductions run within a row, by kernels whose result does not depend on where the row lies: sums go through a matrix product, for the plain sum takes
 * another order at another alignment.
 */
export function encodeRowLosses(graph: GraphBuilder, logits: string, rows: number, columns: number, loss: LossSpec): string {
  const targets = graph.input("targets", "float32", [rows, columns]);
  const scores =
    loss.kind === "sigmoid"
      ? graph.node("Concat", [graph.floats("zeros", [rows, 1], new Float32Array(rows)), logits], { axis: { int: 1 } })
      : logits;
  const logProbabilities = graph.node("LogSoftmax", [scores], { axis: { int: 1 } });
  const terms = graph.node("Mul", [targets, logProbabilities]);
  const minusOnes = graph.floats("minus_ones", [columns, columnsMin], new Float32Array(columns * columnsMin).fill(-1));
  const sums = graph.node("Gemm", [terms, minusOnes]);
  graph.node("Slice", [sums, graph.integers([0]), graph.integers([1]), graph.integers([1])], {}, "rowLoss");
  graph.output("rowLoss", "float32", [rows, 1]);
  const largest = graph.node("ArgMax", [scores], { axis: { int: 1 }, keepdims: { int: 0 } });
  graph.node("Cast", [largest], { to: { int: 6 } }, "predicted");
  graph.output("predicted", "int32", [rows]);
  return scores;
}

/** The losses, and their gradient by the logits: (probabilities - targets) x row weight. */
export const outputGradient: Emitter<"outputGradient"> = (walk, { result }) => {
  const { graph, rows } = walk;
  const { loss } = walk.options;
  const [logits] = result.shape;
  assert(logits !== undefined && result.shape.length === 1);
  const scores = encodeRowLosses(graph, walk.as(walk.program.output, "plain"), rows, loss.kind === "sigmoid" ? 2 : logits, loss);
  const rowWeights = graph.input("rowWeights", "float32", [rows, 1]);
  const difference = graph.node("Sub", [graph.node("Softmax", [scores], { axis: { int: 1 } }), "targets"]);
  const ofScores = graph.node("Mul", [difference, rowWeights]);
  const ofLogits =
    loss.kind === "sigmoid" ? graph.node("Slice", [ofScores, graph.integers([1]), graph.integers([2]), graph.integers([1])]) : ofScores;
  walk.give(result, "plain", ofLogits);
};
