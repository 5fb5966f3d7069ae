import { described, orderOf, type GraphNode, type Value } from "./graph-node.js";
import type { LayerList } from "./layer-list.js";
import { nodeName } from "./layer-names.js";
import { changedPicture } from "./picture.js";

export function add(list: LayerList, node: GraphNode): Value {
  if (node.inputs.some((input) => input?.kind === "constant")) return addConstant(list, node);
  const [first, second] = [list.activation(node, 0), list.activation(node, 1)];
  if (orderOf(first) !== orderOf(second))
    node.refuse(`its inputs have different orders of axes, ${described(first)} and ${described(second)}`);
  return { ...first, layer: list.push(node, { kind: "add" }, [first.layer, second.layer], nodeName(node)) };
}

/** Part of how pictures are prepared, or the bias of the dense layer right before. */
function addConstant(list: LayerList, node: GraphNode): Value {
  const index = node.value(0).kind === "constant" ? 1 : 0;
  const value = node.value(index);
  if (value.kind === "picture") return changedPicture(node, value, index);
  const before = value.kind === "activation" ? list.layers.at(-1) : undefined;
  const { data } = node.floats(1 - index);
  if (value.kind !== "activation" || before?.name !== value.layer || before.kind !== "dense" || before.bias || data.length !== before.units)
    return node.refuse("a constant can only be added to pictures, or as the bias of the matrix product right before");
  list.layers[list.layers.length - 1] = { ...before, bias: true };
  list.tensors.set(`${before.name}/bias`, { shape: [before.units], data });
  return value;
}

export function concat(list: LayerList, node: GraphNode): Value {
  const values = node.inputs.map((_, index) => list.activation(node, index));
  const [first] = values;
  const axis = node.integer("axis", 1);
  if (first === undefined || values.some((value) => orderOf(value) !== orderOf(first)))
    return node.refuse("its inputs have different orders of axes");
  const channels = first.layout === "nhwc" ? [3, -1] : first.layout === "row" ? [1, -1] : [1, -3];
  if (!channels.includes(axis) || (first.layout === "row" && first.channelsFirst))
    node.refuse(`only channels can be joined, found axis ${axis} of ${described(first)}`);
  return {
    ...first,
    layer: list.push(
      node,
      { kind: "concat" },
      values.map(({ layer }) => layer),
      nodeName(node),
    ),
  };
}
