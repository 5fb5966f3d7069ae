import { strict as assert } from "node:assert";
import { CodedError } from "../../../domain/errors.js";
import { elementCount, INPUT } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import type { LossSpec } from "../../../domain/training/loss.js";
import { type DenseChainLayer, isDenseChainLayer } from "../../../domain/training/trainable-layers.js";
import type { Trainable } from "../engine.js";
import { refuseUntrainable } from "../refuse-untrainable.js";
import type { GraphBuilder } from "../../../formats/onnx/graph-builder.js";

/** A layer of a chain with the lengths of the rows that enter and leave it. */
export interface ChainStep {
  readonly layer: DenseChainLayer;
  readonly rowsIn: number;
  readonly rowsOut: number;
}

/** A trainable network in which each layer takes the one before it. */
export interface DenseChain {
  readonly name: string;
  /** Values of one row of the input, however it is shaped. */
  readonly features: number;
  readonly steps: readonly ChainStep[];
  /** Logits of one row: the classes, or 1 for a single sigmoid. */
  readonly logits: number;
}

/**
 * Narrower matrices are padded with zeros up to this width, the longest vector of any CPU. A single column is multiplied by another kernel, in which the last rows
 * round in another order than the others (seen on x64), so that a row's bits would depend on how many rows share the call.
 */
const columnsMin = 16;

/**
 * @throws CodedError ENGINE_UNSUPPORTED naming the first layer that cannot be trained; NETWORK_INVALID where the logits do not fit the loss.
 */
export function denseChain(trainable: Trainable): DenseChain {
  refuseUntrainable("onnx", trainable);
  const { network, loss } = trainable;
  const shapes = layerShapes(network);
  const width = (name: string): number => elementCount(shapes.get(name) ?? []);
  const steps = network.layers.map((layer): ChainStep => {
    assert(isDenseChainLayer(layer));
    return { layer, rowsIn: width(layer.inputs[0] ?? INPUT), rowsOut: width(layer.name) };
  });
  const last = steps.at(-1);
  if (last === undefined || network.output !== last.layer.name || !steps.some(({ layer }) => layer.kind === "dense")) {
    throw new CodedError(
      "ENGINE_UNSUPPORTED",
      `engine onnx: network ${network.name} must be a chain with a dense layer, whose last layer is its output`,
    );
  }
  const fits = loss.kind === "sigmoid" ? last.rowsOut === 1 : last.rowsOut >= 1;
  if (!fits)
    throw new CodedError(
      "NETWORK_INVALID",
      `network ${network.name}: a sigmoid loss needs one logit, found ${last.rowsOut}; use softmax or one output`,
    );
  return { name: network.name, features: width(INPUT), steps, logits: last.rowsOut };
}

/**
 * Adds the forward pass over `rows` rows: parameters are inputs named as their tensors, dropout multiplies by the input `LAYER/mask` where `training` holds.
 * Returns the values by layer name, the input's under `INPUT`.
 */
export function encodeChain(graph: GraphBuilder, chain: DenseChain, rows: number, training: boolean): Map<string, string> {
  let value = graph.input("features", "float32", [rows, chain.features]);
  const values = new Map([[INPUT, value]]);
  for (const { layer, rowsIn, rowsOut } of chain.steps) {
    switch (layer.kind) {
      case "dense": {
        const kernel = graph.input(`${layer.name}/kernel`, "float32", [rowsIn, rowsOut]);
        const bias = layer.bias ? graph.input(`${layer.name}/bias`, "float32", [rowsOut]) : undefined;
        value = rowsTimes(graph, value, kernel, { columns: rowsOut, transposed: false, bias });
        break;
      }
      case "relu":
        value = graph.node("Relu", [value]);
        break;
      case "relu6":
        value = graph.node("Clip", [value, graph.scalar(0), graph.scalar(6)]);
        break;
      case "sigmoid":
        value = graph.node("Sigmoid", [value]);
        break;
      case "dropout":
        if (training) value = graph.node("Mul", [value, graph.input(`${layer.name}/mask`, "float32", [rows, rowsOut])]);
        break;
      case "flatten":
        break;
    }
    values.set(layer.name, value);
  }
  return values;
}

/** `rows x matrix`, or `rows x matrix^T` where `transposed` holds, plus the bias; a row of the result has the same bits whatever other rows there are (at least 2). */
export function rowsTimes(
  graph: GraphBuilder,
  rows: string,
  matrix: string,
  { columns, transposed, bias }: { readonly columns: number; readonly transposed: boolean; readonly bias?: string | undefined },
): string {
  const attributes = { transB: { int: transposed ? 1 : 0 } };
  if (columns >= columnsMin) return graph.node("Gemm", [rows, matrix, ...(bias ? [bias] : [])], attributes);
  const missing = columnsMin - columns;
  const padding = graph.integers(transposed ? [0, 0, missing, 0] : [0, 0, 0, missing]);
  const padded = graph.node("Pad", [matrix, padding, graph.scalar(0)], { mode: { string: "constant" } });
  const paddedBias = bias && graph.node("Pad", [bias, graph.integers([0, missing]), graph.scalar(0)], { mode: { string: "constant" } });
  const product = graph.node("Gemm", [rows, padded, ...(paddedBias ? [paddedBias] : [])], attributes);
  return firstColumns(graph, product, columns);
}

function firstColumns(graph: GraphBuilder, matrix: string, columns: number): string {
  return graph.node("Slice", [matrix, graph.integers([0]), graph.integers([columns]), graph.integers([1])]);
}

/** Columns of the targets: the classes, or 2 for a single sigmoid. */
export function targetColumns(chain: DenseChain, loss: LossSpec): number {
  return loss.kind === "sigmoid" ? 2 : chain.logits;
}

/**
 * Adds the input `targets` [rows, targetColumns] and the outputs `rowLoss` [rows, 1], unweighted, and `predicted` [rows].
 * Returns the logits as a softmax sees them, [rows, targetColumns]: a single sigmoid of z is the softmax of (0, z).
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

export function valueOf(values: ReadonlyMap<string, string>, name: string): string {
  const value = values.get(name);
  assert(value !== undefined, `no value named ${name}`);
  return value;
}
