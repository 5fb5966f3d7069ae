import { elementCount, type Shape, type Tensor } from "../../domain/network/network.js";
import { permuteAxes } from "../../domain/network/permute-axes.js";
import { described, type Activation, type GraphNode, type Value } from "./graph-node.js";
import type { LayerList } from "./layer-list.js";
import { nodeName, weightName } from "./layer-names.js";

export function flatten(list: LayerList, node: GraphNode, isRow: boolean): Value {
  const value = list.activation(node);
  if (!isRow) node.refuse(`only [n, everything else] is supported, of ${described(value)}`);
  if (value.layout === "row") return value;
  if (value.layout === "pooled") return { kind: "activation", layer: value.layer, layout: "row" };
  const [height = 0, width = 0, channels = 0] = list.shapeOf(value);
  const layer = list.push(node, { kind: "flatten" }, [value.layer], nodeName(node));
  const turned = value.layout === "nchw" && height * width > 1;
  return { kind: "activation", layer, layout: "row", channelsFirst: turned ? [height, width, channels] : undefined };
}

export function softmax(list: LayerList, node: GraphNode): Value {
  const value = list.activation(node);
  const axis = node.integer("axis", -1);
  if (value.layout !== "row" || (axis !== 1 && axis !== -1))
    node.refuse(`only over the classes of a row is supported, found axis ${axis} of ${described(value)}`);
  if (value.layout === "row" && value.channelsFirst) node.refuse("behind a flatten of [channels, height, width] it is not supported");
  return { ...value, layer: list.push(node, { kind: "softmax" }, [value.layer], nodeName(node)) };
}

function matrix(list: LayerList, node: GraphNode, transposed: boolean): Tensor {
  const matrix = node.floats(1);
  if (matrix.shape.length !== 2) node.refuse(`a matrix is needed as input 2, found [${matrix.shape.join(", ")}]`);
  return transposed ? permuteAxes(matrix, [1, 0]) : matrix;
}

export function gemm(list: LayerList, node: GraphNode): Value {
  node.only("transA", 0);
  if (node.float("alpha", 1) !== 1 || node.float("beta", 1) !== 1) node.refuse("alpha and beta other than 1 are not supported");
  return dense(list, node, matrix(list, node, node.integer("transB", 0) === 1), node.constantAt(2) ? node.floats(2) : undefined);
}

export function dense(list: LayerList, node: GraphNode, kernel: Tensor, bias: Tensor | undefined): Activation {
  const value = list.activation(node);
  const [inputs = 0, units = 0] = kernel.shape;
  if (value.layout !== "row" && value.layout !== "pooled")
    node.refuse(`it needs a row, but its input is ${described(value)}; a flatten must stand before it`);
  const length = elementCount(list.shapeOf(value));
  if (length !== inputs) node.refuse(`its matrix takes ${inputs} values, but its input has ${length}`);
  if (bias && bias.data.length !== units) node.refuse(`a bias of ${units} values is needed, found [${bias.shape.join(", ")}]`);
  const order = value.layout === "row" ? value.channelsFirst : undefined;
  const tensors = {
    kernel: order ? channelsLastRows(kernel, order) : kernel,
    ...(bias ? { bias: { shape: [units], data: bias.data } } : {}),
  };
  const layer = list.push(node, { kind: "dense", units, bias: bias !== undefined }, [value.layer], weightName(node, 1), tensors);
  return { kind: "activation", layer, layout: "row" };
}

/** A product with a constant matrix: a dense layer without bias. */
export function matMul(list: LayerList, node: GraphNode): Value {
  return dense(list, node, matrix(list, node, false), undefined);
}

/** A matrix whose rows are in the order channels, height, width, with them in graft's order height, width, channels. */
function channelsLastRows({ shape: [rows = 0, units = 0], data }: Tensor, [height = 0, width = 0, channels = 0]: Shape): Tensor {
  const turned = permuteAxes({ shape: [channels, height, width, units], data }, [1, 2, 0, 3]);
  return { shape: [rows, units], data: turned.data };
}
