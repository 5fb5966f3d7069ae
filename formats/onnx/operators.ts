import type { GraphNode, Value } from "./graph-node.js";
import type { LayerList } from "./layer-list.js";
import { add, concat } from "./merge-operators.js";
import { arithmetic, cast, clip, constant, reshape, simple, transpose } from "./plain-operators.js";
import { flatten, gemm, matMul, softmax } from "./row-operators.js";
import { batchNorm, conv, globalPool, pad, pool, reduceMean } from "./window-operators.js";

/** What each operator of the default domain adds to the layers, and what leaves its node. */
const operators: Readonly<Record<string, (list: LayerList, node: GraphNode) => Value>> = {
  Add: add,
  AveragePool: (list, node) => pool(list, node, "averagePool"),
  BatchNormalization: batchNorm,
  Cast: cast,
  Clip: clip,
  Concat: concat,
  Constant: constant,
  Conv: conv,
  Div: arithmetic,
  Dropout: (_list, node) => node.value(0),
  Flatten: (list, node) => flatten(list, node, node.integer("axis", 1) === 1),
  Gather: arithmetic,
  Gemm: gemm,
  GlobalAveragePool: globalPool,
  Identity: (_list, node) => node.value(0),
  MatMul: matMul,
  MaxPool: (list, node) => pool(list, node, "maxPool"),
  Mul: arithmetic,
  Pad: pad,
  ReduceMean: reduceMean,
  Relu: (list, node) => simple(list, node, { kind: "relu" }),
  Reshape: reshape,
  Sigmoid: (list, node) => simple(list, node, { kind: "sigmoid" }),
  Softmax: softmax,
  Squeeze: reshape,
  Sub: arithmetic,
  Transpose: transpose,
};

/** Reads one node. @throws CodedError NETWORK_INVALID naming the node and its operator. */
export function readNode(list: LayerList, node: GraphNode): Value {
  const operator = Object.hasOwn(operators, node.operator) ? operators[node.operator] : undefined;
  if (operator === undefined) return node.refuse(`this operator is not supported; supported are ${Object.keys(operators).join(", ")}`);
  return operator(list, node);
}
