import { elementCount, type LayerKind, type Padding, type Tensor } from "../../domain/network/network.js";
import { noPadding } from "../../domain/network/catalog/same-padding.js";
import { permuteAxes } from "../../domain/network/permute-axes.js";
import { described, type GraphNode, type Value } from "./graph-node.js";
import type { LayerList } from "./layer-list.js";
import { nodeName, weightName } from "./layer-names.js";
import { dense } from "./row-operators.js";

export function conv(list: LayerList, node: GraphNode): Value {
  const input = list.activation(node);
  const kernel = node.floats(1);
  const bias = node.constantAt(2) ? node.floats(2) : undefined;
  const [outputs = 0, inputsInGroup = 0, ...size] = kernel.shape;
  if (kernel.shape.length !== 4) node.refuse(`a kernel [out, in, height, width] is needed, found [${kernel.shape.join(", ")}]`);
  const name = weightName(node, 1);
  if (input.layout === "pooled") {
    if (elementCount(size) !== 1 || node.integer("group", 1) !== 1) node.refuse("only a 1x1 convolution can follow a global pooling");
    return { ...dense(list, node, permuteAxes({ shape: [outputs, inputsInGroup], data: kernel.data }, [1, 0]), bias), layout: "pooled" };
  }
  const image = list.image(node);
  const shape = list.shapeOf(image);
  const channels = shape[2] ?? 0;
  const group = node.integer("group", 1);
  const { size: window, strides, padding } = node.window(node.integers("kernel_shape") ?? size, shape);
  if (window[0] !== size[0] || window[1] !== size[1])
    node.refuse(`kernel_shape [${window.join(", ")}] is not that of its kernel [${kernel.shape.join(", ")}]`);
  const common = { strides, padding, bias: bias !== undefined };
  const biased = bias ? { bias: { shape: [outputs], data: bias.data } } : {};
  if (bias && bias.data.length !== outputs) node.refuse(`a bias of ${outputs} values is needed, found [${bias.shape.join(", ")}]`);
  if (group === 1 && inputsInGroup === channels) {
    const layer = list.push(node, { kind: "conv2d", filters: outputs, kernel: window, ...common }, [image.layer], name, {
      kernel: permuteAxes(kernel, [2, 3, 1, 0]),
      ...biased,
    });
    return { ...image, layer };
  }
  if (group !== channels || outputs !== channels || inputsInGroup !== 1)
    node.refuse(`${group} groups of ${channels} channels to ${outputs} are not supported, only one group or one for each channel`);
  const layer = list.push(node, { kind: "depthwiseConv2d", kernel: window, ...common }, [image.layer], name, {
    depthwise_kernel: permuteAxes(kernel, [2, 3, 0, 1]),
    ...biased,
  });
  return { ...image, layer };
}

export function batchNorm(list: LayerList, node: GraphNode): Value {
  node.only("training_mode", 0);
  const value = list.activation(node);
  if (value.layout === "nhwc") node.refuse("it needs the channels in the second place");
  if (value.layout === "row" && value.channelsFirst) node.refuse("behind a flatten of [channels, height, width] it is not supported");
  const channels = list.shapeOf(value).at(-1) ?? 0;
  const perChannel = (index: number): Tensor => {
    const { data } = node.floats(index);
    return data.length === channels
      ? { shape: [channels], data }
      : node.refuse(`input ${index + 1} needs ${channels} values, found ${data.length}`);
  };
  // A float32 in the file: seven digits are what was meant.
  const epsilon = Number(node.float("epsilon", 1e-5).toPrecision(7));
  const kind: LayerKind = { kind: "batchNorm", epsilon, scale: true, center: true };
  const tensors = { gamma: perChannel(1), beta: perChannel(2), moving_mean: perChannel(3), moving_variance: perChannel(4) };
  return { ...value, layer: list.push(node, kind, [value.layer], weightName(node, 1), tensors) };
}

export function pool(list: LayerList, node: GraphNode, kind: "maxPool" | "averagePool"): Value {
  const image = list.image(node);
  const shape = list.shapeOf(image);
  const { size, strides, padding } = node.window(node.integers("kernel_shape") ?? [], shape);
  const isPadded = Object.values(padding).some((side) => side > 0);
  if (kind === "averagePool" && isPadded && node.integer("count_include_pad", 0) === 1) {
    if (node.integer("ceil_mode", 0) === 1) node.refuse("ceil_mode together with count_include_pad is not supported");
    const padded = list.push(node, { kind: "zeroPad", padding }, [image.layer], `${nodeName(node)}_pad`);
    return { ...image, layer: list.push(node, { kind, size, strides, padding: noPadding }, [padded], nodeName(node)) };
  }
  return { ...image, layer: list.push(node, { kind, size, strides, padding }, [image.layer], nodeName(node)) };
}

export function globalPool(list: LayerList, node: GraphNode): Value {
  const image = list.image(node);
  return { kind: "activation", layer: list.push(node, { kind: "globalAveragePool" }, [image.layer], nodeName(node)), layout: "pooled" };
}

/** Over height and width: a global average pooling. */
export function reduceMean(list: LayerList, node: GraphNode): Value {
  const value = list.activation(node);
  const axes =
    node
      .integersAt(1, "axes")
      ?.map((axis) => (axis < 0 ? axis + 4 : axis))
      .sort((a, b) => a - b) ?? [];
  const spatial = value.layout === "nchw" ? "2,3" : "1,2";
  if ((value.layout !== "nchw" && value.layout !== "nhwc") || axes.join() !== spatial)
    node.refuse(`only over height and width is supported, found the axes [${axes.join(", ")}] of ${described(value)}`);
  const layer = list.push(node, { kind: "globalAveragePool" }, [value.layer], nodeName(node));
  return node.integer("keepdims", 1) === 1 ? { kind: "activation", layer, layout: "pooled" } : { kind: "activation", layer, layout: "row" };
}

export function pad(list: LayerList, node: GraphNode): Value {
  const value = list.activation(node);
  const pads = node.integersAt(1, "pads") ?? [];
  if (node.text("mode", "constant") !== "constant" || node.numberAt(2, "value", 0) !== 0 || node.inputs[3] !== undefined)
    node.refuse("only zeros are supported, on all axes given");
  if ((value.layout !== "nchw" && value.layout !== "nhwc") || pads.length !== 8)
    node.refuse(`only pictures are supported, found ${pads.length} pads of ${described(value)}`);
  const [h, w] = value.layout === "nchw" ? [2, 3] : [1, 2];
  const padding: Padding = { top: pads[h]!, bottom: pads[h + 4]!, left: pads[w]!, right: pads[w + 4]! };
  if (pads.some((pad, i) => pad !== 0 && i % 4 !== h && i % 4 !== w)) node.refuse("only height and width can be padded");
  return { ...value, layer: list.push(node, { kind: "zeroPad", padding }, [value.layer], nodeName(node)) };
}
