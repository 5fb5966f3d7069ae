import { elementCount, type LayerKind } from "../../domain/network/network.js";
import { permuteAxes } from "../../domain/network/permute-axes.js";
import { TensorProto_DataType } from "../../proto/gen/third_party/onnx/onnx_pb.js";
import { readConstant } from "./constant.js";
import { described, type GraphNode, type Layout, type Value } from "./graph-node.js";
import type { LayerList } from "./layer-list.js";
import { nodeName } from "./layer-names.js";
import { changedPicture } from "./picture.js";
import { flatten } from "./row-operators.js";

export function cast(list: LayerList, node: GraphNode): Value {
  node.only("to", TensorProto_DataType.FLOAT);
  return node.value(0);
}

/** One input, and an output of the same shape and order. */
export function simple(list: LayerList, node: GraphNode, kind: LayerKind): Value {
  const value = list.activation(node);
  return { ...value, layer: list.push(node, kind, [value.layer], nodeName(node)) };
}

export function clip(list: LayerList, node: GraphNode): Value {
  const [low, high] = [node.numberAt(1, "min", -Infinity), node.numberAt(2, "max", Infinity)];
  if (low !== 0 || (high !== 6 && high < 3e38)) node.refuse(`only from 0 to 6, or from 0 up, is supported, found ${low} to ${high}`);
  return simple(list, node, { kind: high === 6 ? "relu6" : "relu" });
}

export function arithmetic(list: LayerList, node: GraphNode): Value {
  const index = node.value(0).kind === "constant" ? 1 : 0;
  const value = node.value(index);
  if (value.kind !== "picture") return node.refuse("this is only supported where pictures are prepared, before the first layer");
  return changedPicture(node, value, index);
}

/** Reshape and Squeeze: only as another way to write a flatten, or around one value for each channel. */
export function reshape(list: LayerList, node: GraphNode): Value {
  const value = node.value(0);
  if (value.kind === "constant") {
    const shape = node.integersAt(1, "shape") ?? [];
    if (node.operator !== "Reshape" || !("data" in value.constant) || elementCount(shape) !== value.constant.data.length)
      return node.refuse("this shape of a constant is not supported");
    return { kind: "constant", constant: { shape, data: value.constant.data } };
  }
  const activation = list.activation(node);
  const length = elementCount(list.shapeOf(activation));
  if (node.operator === "Squeeze")
    return activation.layout === "pooled"
      ? { ...activation, layout: "row" }
      : node.refuse(`only behind a global pooling is supported, found ${described(activation)}`);
  const target = node.integersAt(1, "shape") ?? [];
  const [rows, columns] = target;
  if (target.length === 2 && (columns === -1 || columns === length) && (rows === -1 || rows === 0 || rows === 1))
    return flatten(list, node, true);
  const isPoint =
    target.length === 4 &&
    target.slice(1).filter((side) => side === length || side === -1).length >= 1 &&
    target.slice(1).filter((side) => side === 1).length >= 2;
  if (isPoint && (activation.layout === "pooled" || (activation.layout === "row" && !activation.channelsFirst)))
    return { kind: "activation", layer: activation.layer, layout: "pooled" };
  return node.refuse(
    `the shape [${target.join(", ")}] is not supported for ${described(activation)} of ${length} values, only a row of all`,
  );
}

export function transpose(list: LayerList, node: GraphNode): Value {
  const value = node.value(0);
  const perm = node.integers("perm");
  if (value.kind === "constant") {
    if (!("data" in value.constant)) return node.refuse("only a constant of floating-point numbers can be turned");
    const { shape } = value.constant;
    const axes = perm ?? shape.map((_, axis) => shape.length - 1 - axis);
    if (axes.length !== shape.length || [...axes].sort((a, b) => a - b).some((axis, i) => axis !== i))
      node.refuse(`perm [${axes.join(", ")}] does not fit [${shape.join(", ")}]`);
    return { kind: "constant", constant: permuteAxes(value.constant, axes) };
  }
  if (value.kind === "activation" && value.layout === "pooled" && perm?.[0] === 0) return value;
  const layout = value.kind === "activation" && (value.layout === "row" || value.layout === "pooled") ? "" : value.layout;
  const turned = perm?.map((axis) => layout[axis] ?? "?").join("");
  if (turned !== "nchw" && turned !== "nhwc") return node.refuse(`perm [${perm?.join(", ") ?? ""}] is not supported`);
  return { ...value, layout: turned satisfies Layout };
}

export function constant(list: LayerList, node: GraphNode): Value {
  const tensor = node.attribute("value")?.t;
  if (tensor) return { kind: "constant", constant: readConstant(tensor) };
  const floats = node.attribute("value_floats")?.floats ?? (node.attribute("value_float") ? [node.float("value_float", 0)] : undefined);
  if (floats)
    return {
      kind: "constant",
      constant: { shape: node.attribute("value_float") ? [] : [floats.length], data: Float32Array.from(floats) },
    };
  const integers = node.integers("value_ints") ?? (node.attribute("value_int") ? [node.integer("value_int", 0)] : undefined);
  if (integers) return { kind: "constant", constant: { shape: node.attribute("value_int") ? [] : [integers.length], integers } };
  return node.refuse("a constant of numbers is needed");
}
