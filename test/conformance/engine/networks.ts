import { samePadding } from "../../../domain/network/catalog/same-padding.js";
import { INPUT, type LayerKind, type Network, type Pair } from "../../../domain/network/network.js";
import type { Preprocessing } from "../../../domain/network/preprocessing.js";
import type { LossSpec } from "../../../domain/training/loss.js";
import type { Trainable } from "../../../platform/engine/engine.js";
import { around, batchNorm, chain, conv, dense, depthwise, flatten, globalAveragePool, graph, pool, relu, relu6, two } from "./layers.js";

/** Sizes of maps of three channels, with what makes something of them. */
const onMaps: Readonly<Record<string, readonly [size: Pair, ...LayerKind[]]>> = {
  "conv2d 1x1": [[5, 4], conv(4, [1, 1])],
  "conv2d with bias": [[4, 4], conv(4, [3, 3], { bias: true })],
  "conv2d 1x1, stride 2, even size": [[6, 4], conv(4, [1, 1], { strides: two })],
  "conv2d 1x1, stride 2, odd size": [[5, 7], conv(4, [1, 1], { strides: two })],
  "conv2d 3x3, SAME": [[5, 6], conv(2, [3, 3], { padding: around(1) })],
  "conv2d 3x3, stride 2, SAME of an even size: bottom and right": [
    [6, 6],
    conv(3, [3, 3], { strides: two, padding: samePadding([6, 6], [3, 3], two) }),
  ],
  "conv2d 3x3, stride 2, SAME of an odd size": [[7, 5], conv(3, [3, 3], { strides: two, padding: samePadding([7, 5], [3, 3], two) })],
  "conv2d 3x3, stride 2, PyTorch's padding of an even size": [[6, 6], conv(3, [3, 3], { strides: two, padding: around(1) })],
  "conv2d 3x3, stride 2, a row and a column left over": [[6, 8], conv(3, [3, 3], { strides: two })],
  "conv2d 5x5, SAME": [[5, 6], conv(2, [5, 5], { padding: around(2) })],
  "conv2d 7x7, stride 2, PyTorch's padding": [[9, 8], conv(2, [7, 7], { strides: two, padding: around(3) })],
  "conv2d 7x7, stride 2, SAME of an even size": [[8, 8], conv(2, [7, 7], { strides: two, padding: samePadding([8, 8], [7, 7], two) })],
  "conv2d 1x7 and 7x1": [
    [7, 6],
    conv(2, [1, 7], { padding: { top: 0, bottom: 0, left: 3, right: 3 } }),
    conv(2, [7, 1], { padding: { top: 3, bottom: 3, left: 0, right: 0 } }),
  ],
  "conv2d 3x2, strides 1 and 2, padding at top and left": [
    [5, 7],
    conv(3, [3, 2], { strides: [1, 2], padding: { top: 2, bottom: 0, left: 1, right: 0 } }),
  ],
  "depthwiseConv2d 3x3, SAME, with bias": [[5, 6], depthwise([3, 3], { padding: around(1), bias: true })],
  "depthwiseConv2d 3x3, stride 2, SAME of an even size": [
    [6, 6],
    depthwise([3, 3], { strides: two, padding: samePadding([6, 6], [3, 3], two) }),
  ],
  "depthwiseConv2d 3x3, stride 2, SAME of an odd size": [
    [5, 7],
    depthwise([3, 3], { strides: two, padding: samePadding([5, 7], [3, 3], two) }),
  ],
  "depthwiseConv2d 3x3, stride 2, PyTorch's padding of an even size": [[6, 8], depthwise([3, 3], { strides: two, padding: around(1) })],
  "depthwiseConv2d 5x5, padding at top and left": [[6, 5], depthwise([5, 5], { padding: { top: 3, bottom: 1, left: 4, right: 0 } })],
  "depthwiseConv2d 3x3, strides 1 and 2": [[5, 6], depthwise([3, 3], { strides: [1, 2], padding: around(1) })],
  "depthwiseConv2d 3x1": [[4, 5], depthwise([3, 1])],
  "zeroPad and depthwiseConv2d, stride 2, as in MobileNet": [
    [6, 6],
    { kind: "zeroPad", padding: { top: 0, bottom: 1, left: 0, right: 1 } },
    depthwise([3, 3], { strides: two }),
  ],
  "zeroPad, other on every side": [[3, 4], { kind: "zeroPad", padding: { top: 1, bottom: 2, left: 0, right: 3 } }],
  "maxPool 2x2": [[6, 4], pool("maxPool", two)],
  "maxPool 2x2, a row and a column left over": [[5, 7], pool("maxPool", two)],
  "maxPool 3x3, stride 2": [[7, 7], pool("maxPool", [3, 3], { strides: two })],
  "maxPool 3x3, stride 2, PyTorch's padding": [[6, 7], pool("maxPool", [3, 3], { strides: two, padding: around(1) })],
  "maxPool 3x3, stride 2, SAME of an even size": [
    [6, 6],
    pool("maxPool", [3, 3], { strides: two, padding: samePadding([6, 6], [3, 3], two) }),
  ],
  "maxPool 3x3, stride 1, SAME": [[4, 5], pool("maxPool", [3, 3], { strides: [1, 1], padding: around(1) })],
  "maxPool 1x3, strides 1 and 2": [[3, 7], pool("maxPool", [1, 3], { strides: [1, 2], padding: { top: 0, bottom: 0, left: 0, right: 2 } })],
  "averagePool 2x2": [[6, 4], pool("averagePool", two)],
  "averagePool 3x3, SAME: padding does not count": [[4, 5], pool("averagePool", [3, 3], { strides: [1, 1], padding: around(1) })],
  "averagePool 3x3, stride 2, SAME of an even size": [
    [6, 6],
    pool("averagePool", [3, 3], { strides: two, padding: samePadding([6, 6], [3, 3], two) }),
  ],
  "averagePool 3x3, stride 2, a row and a column left over": [[6, 8], pool("averagePool", [3, 3], { strides: two })],
  "averagePool 3x3, stride 2, PyTorch's padding, which does not count here": [
    [6, 6],
    pool("averagePool", [3, 3], { strides: two, padding: around(1) }),
  ],
  "averagePool 1x3, strides 1 and 2": [
    [3, 7],
    pool("averagePool", [1, 3], { strides: [1, 2], padding: { top: 0, bottom: 0, left: 2, right: 0 } }),
  ],
  "relu on a map": [[3, 4], relu],
  "relu6 on a map": [[4, 4], relu6],
  "sigmoid on a map": [[3, 4], { kind: "sigmoid" }],
  "softmax over the channels of a map": [[3, 4], { kind: "softmax" }],
  "dropout on a map": [[3, 4], { kind: "dropout", rate: 0.25 }],
  "batchNorm on a map": [[3, 4], batchNorm],
  "batchNorm on a map without scale": [[3, 4], { ...batchNorm, scale: false }],
  "batchNorm on a map without center": [[3, 4], { ...batchNorm, epsilon: 1e-5, center: false }],
  "batchNorm on a map without scale and center": [[3, 4], { ...batchNorm, scale: false, center: false }],
  "flatten is row-major over height, width, channels": [[3, 4]],
};

/** Layers between two dense layers. */
const onVectors: Readonly<Record<string, readonly LayerKind[]>> = {
  "dense without bias": [dense(4, false)],
  "relu on a vector": [relu],
  "relu6 on a vector": [relu6],
  "sigmoid on a vector": [{ kind: "sigmoid" }],
  "softmax on a vector": [{ kind: "softmax" }],
  "dropout on a vector": [{ kind: "dropout", rate: 0.5 }],
  "flatten on a vector": [flatten],
  "batchNorm on a vector": [batchNorm],
  "batchNorm on a vector without scale": [{ ...batchNorm, scale: false }],
  "batchNorm on a vector without center": [{ ...batchNorm, center: false }],
  "batchNorm twice": [batchNorm, relu, dense(5, false), batchNorm],
  "several dense layers": [relu6, { kind: "dropout", rate: 0.5 }, dense(8), { kind: "sigmoid" }, dense(7, false), relu],
};

const branching: readonly Network[] = [
  graph(
    "add of maps, and of the input",
    [3, 4, 2],
    [
      ["a", [INPUT], conv(2, [1, 1], { bias: true })],
      ["b", [INPUT], conv(2, [3, 3], { padding: around(1) })],
      ["sum", ["a", INPUT, "b"], { kind: "add" }],
      ["flat", ["sum"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  ),
  graph(
    "add of the same map twice",
    [3, 4, 2],
    [
      ["a", [INPUT], conv(2, [1, 1], { bias: true })],
      ["sum", ["a", "a"], { kind: "add" }],
      ["flat", ["sum"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  ),
  graph(
    "add of vectors",
    [4],
    [
      ["a", [INPUT], dense(5)],
      ["b", ["a"], { kind: "sigmoid" }],
      ["sum", ["b", "a", "b"], { kind: "add" }],
      ["logits", ["sum"], dense(3)],
    ],
  ),
  graph(
    "concat of maps, and of the input",
    [3, 4, 2],
    [
      ["a", [INPUT], conv(3, [1, 1], { bias: true })],
      ["b", ["a"], conv(1, [3, 3], { padding: around(1) })],
      ["both", ["b", INPUT, "a"], { kind: "concat" }],
      ["flat", ["both"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  ),
  graph(
    "concat of the same vector twice",
    [4],
    [
      ["a", [INPUT], dense(3)],
      ["b", ["a"], relu],
      ["both", ["a", "b", "a"], { kind: "concat" }],
      ["logits", ["both"], dense(1)],
    ],
  ),
  graph(
    "residual block",
    [6, 6, 2],
    [
      ["conv1", [INPUT], conv(3, [3, 3], { strides: two, padding: around(1) })],
      ["bn1", ["conv1"], batchNorm],
      ["relu1", ["bn1"], relu],
      ["conv2", ["relu1"], conv(3, [3, 3], { padding: around(1) })],
      ["bn2", ["conv2"], batchNorm],
      ["shortcut", [INPUT], conv(3, [1, 1], { strides: two })],
      ["shortcut_bn", ["shortcut"], batchNorm],
      ["sum", ["bn2", "shortcut_bn"], { kind: "add" }],
      ["relu2", ["sum"], relu],
      ["pool", ["relu2"], globalAveragePool],
      ["logits", ["pool"], dense(3)],
    ],
  ),
  graph(
    "pre-activation block",
    [6, 5, 3],
    [
      ["bn1", [INPUT], batchNorm],
      ["relu1", ["bn1"], relu],
      ["shortcut", ["relu1"], conv(4, [1, 1], { strides: two })],
      ["conv1", ["relu1"], conv(4, [3, 3], { strides: two, padding: around(1) })],
      ["bn2", ["conv1"], batchNorm],
      ["relu2", ["bn2"], relu],
      ["conv2", ["relu2"], conv(4, [3, 3], { padding: around(1) })],
      ["sum", ["conv2", "shortcut"], { kind: "add" }],
      ["bn3", ["sum"], { ...batchNorm, scale: false }],
      ["relu3", ["bn3"], relu],
      ["pool", ["relu3"], globalAveragePool],
      ["logits", ["pool"], dense(1)],
    ],
  ),
  graph(
    "inverted residual block",
    [4, 5, 3],
    [
      ["expand", [INPUT], conv(6, [1, 1])],
      ["expand_bn", ["expand"], batchNorm],
      ["expand_relu", ["expand_bn"], relu6],
      ["depthwise", ["expand_relu"], depthwise([3, 3], { padding: around(1) })],
      ["depthwise_bn", ["depthwise"], batchNorm],
      ["depthwise_relu", ["depthwise_bn"], relu6],
      ["project", ["depthwise_relu"], conv(3, [1, 1])],
      ["project_bn", ["project"], batchNorm],
      ["sum", [INPUT, "project_bn"], { kind: "add" }],
      ["pool", ["sum"], globalAveragePool],
      ["dropout", ["pool"], { kind: "dropout", rate: 0.25 }],
      ["logits", ["dropout"], dense(3)],
    ],
  ),
  graph(
    "inception block",
    [5, 5, 2],
    [
      ["stem", [INPUT], conv(3, [1, 1], { bias: true })],
      ["one", ["stem"], conv(2, [1, 1])],
      ["one_bn", ["one"], { ...batchNorm, scale: false }],
      ["one_relu", ["one_bn"], relu],
      ["row", ["stem"], conv(2, [1, 7], { padding: { top: 0, bottom: 0, left: 3, right: 3 } })],
      ["column", ["row"], conv(2, [7, 1], { padding: { top: 3, bottom: 3, left: 0, right: 0 } })],
      ["column_relu", ["column"], relu],
      ["average", ["stem"], pool("averagePool", [3, 3], { strides: [1, 1], padding: around(1) })],
      ["average_conv", ["average"], conv(2, [1, 1])],
      ["mixed", ["one_relu", "column_relu", "average_conv"], { kind: "concat" }],
      ["reduce", ["mixed"], pool("maxPool", [3, 3], { strides: two })],
      ["flat", ["reduce"], flatten],
      ["logits", ["flat"], dense(3)],
    ],
  ),
];

/**
 * Between them every kind of layer, in the shapes that published networks use. Something trained lies below each layer, so that a gradient has to pass through it, and a
 * dense layer above tells all places of its output apart. Small enough for finite differences of every parameter.
 */
export const networks: readonly Network[] = [
  ...Object.entries(onMaps).map(([name, [[height, width], ...kinds]]) =>
    chain(name, [height, width, 2], [conv(3, [1, 1], { bias: true }), ...kinds, flatten, dense(3)]),
  ),
  chain("globalAveragePool", [4, 3, 2], [conv(3, [1, 1], { bias: true }), globalAveragePool, dense(3)]),
  chain("dense layers above a flattened map", [2, 3, 2], [{ kind: "dropout", rate: 0.25 }, relu6, flatten, dense(9), relu, dense(3)]),
  ...Object.entries(onVectors).map(([name, kinds]) => chain(name, [4], [dense(6), ...kinds, dense(3)])),
  ...branching,
];

/** Trained with the loss that goes with the number of logits. */
export function trainableOf(network: Network, batchNorm: Trainable["batchNorm"] = "FROZEN", loss: Partial<LossSpec> = {}): Trainable {
  const last = network.layers.at(-1);
  const kind = last?.kind === "dense" && last.units === 1 ? "sigmoid" : "softmax";
  return { network, loss: { kind, labelSmoothing: 0.1, ...loss }, batchNorm };
}

/** Every network, those with batch norm in both modes. */
export const trainables: readonly Trainable[] = networks.flatMap((network) =>
  network.layers.some(({ kind }) => kind === "batchNorm") ? [trainableOf(network), trainableOf(network, "BATCH")] : [trainableOf(network)],
);

export function nameOf({ network, batchNorm }: Trainable): string {
  return network.layers.some(({ kind }) => kind === "batchNorm") ? `${network.name}, ${batchNorm}` : network.name;
}

/** A network on pixels. */
export function pixels(channels: Preprocessing["channels"]): Trainable & { readonly preprocessing: Preprocessing } {
  const network = chain("pixels", [6, 6, 3], [conv(4, [3, 3], { strides: two, bias: true }), relu, flatten, dense(3)]);
  const preprocessing: Preprocessing = {
    size: 6,
    resize: "STRETCH",
    resizeTo: 6,
    channels,
    mean: [123.68, 116.779, 103.939],
    deviation: [58.393, 57.12, 70],
  };
  return { ...trainableOf(network), preprocessing };
}

/** Layers of many kinds one above the other, from a small picture to three logits. */
const block: readonly LayerKind[] = [
  conv(6, [3, 3], { padding: around(1), bias: true }),
  batchNorm,
  relu6,
  depthwise([3, 3], { padding: around(1) }),
  { ...batchNorm, scale: false },
  { kind: "averagePool", size: [2, 3], strides: [1, 2], padding: { top: 1, bottom: 0, left: 0, right: 2 } },
  { kind: "maxPool", size: [2, 2], strides: [1, 1], padding: { top: 0, bottom: 1, left: 0, right: 0 } },
  { kind: "dropout", rate: 0.5 },
  globalAveragePool,
  { ...batchNorm, center: false },
  { kind: "softmax" },
  dense(3),
];

export function blockOf(mode: Trainable["batchNorm"], layers = block): Trainable {
  return { network: chain("block", [6, 5, 4], layers), loss: { kind: "softmax", labelSmoothing: 0.1 }, batchNorm: mode };
}
