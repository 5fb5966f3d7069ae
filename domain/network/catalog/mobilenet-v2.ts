import { INPUT, type Network } from "../network.js";
import { NetworkBuilder } from "./builder.js";

/** Filters and stride of the blocks after block 0, as in table 2 of https://arxiv.org/abs/1801.04381. */
const blocks: readonly (readonly [filters: number, stride: number])[] = [
  [24, 2],
  [24, 1],
  [32, 2],
  [32, 1],
  [32, 1],
  [64, 2],
  [64, 1],
  [64, 1],
  [64, 1],
  [96, 1],
  [96, 1],
  [96, 1],
  [160, 2],
  [160, 1],
  [160, 1],
  [320, 1],
];

/** MobileNetV2 with the layer names of Keras. Its padding is part of the convolutions, so that `Conv1_pad` and `block_N_pad` are no layers of their own. */
export function mobilenetV2(name: string, width: number, size: number, top: number | undefined): Network {
  const net = new NetworkBuilder(name, [size, size, 3]);
  const norm = (layer: string, input: string): string =>
    net.add(layer, { kind: "batchNorm", epsilon: 1e-3, scale: true, center: true }, input);
  const relu6 = (layer: string, input: string): string => net.add(layer, { kind: "relu6" }, input);
  const pointwise = (layer: string, input: string, filters: number): string =>
    net.conv(layer, input, filters, { kernel: [1, 1], stride: 1, padding: "VALID" }, false);

  let x = net.conv("Conv1", INPUT, divisibleBy8(32 * width), { kernel: [3, 3], stride: 2, padding: "SAME" }, false);
  x = relu6("Conv1_relu", norm("bn_Conv1", x));

  const separable = (prefix: string, input: string, stride: number, filters: number): string => {
    const depthwise = net.depthwise(`${prefix}depthwise`, input, { kernel: [3, 3], stride, padding: "SAME" }, false);
    const active = relu6(`${prefix}depthwise_relu`, norm(`${prefix}depthwise_BN`, depthwise));
    return norm(`${prefix}project_BN`, pointwise(`${prefix}project`, active, filters));
  };
  x = separable("expanded_conv_", x, 1, divisibleBy8(Math.trunc(16 * width)));
  for (const [index, [filters, stride]] of blocks.entries()) {
    const prefix = `block_${index + 1}_`;
    const input = x;
    x = pointwise(`${prefix}expand`, input, 6 * net.channelsOf(input));
    x = relu6(`${prefix}expand_relu`, norm(`${prefix}expand_BN`, x));
    x = separable(prefix, x, stride, divisibleBy8(Math.trunc(filters * width)));
    if (stride === 1 && net.channelsOf(x) === net.channelsOf(input)) x = net.add(`${prefix}add`, { kind: "add" }, input, x);
  }

  x = pointwise("Conv_1", x, width > 1 ? divisibleBy8(1280 * width) : 1280);
  x = relu6("out_relu", norm("Conv_1_bn", x));
  x = net.add("global_average_pool", { kind: "globalAveragePool" }, x);
  if (top !== undefined) x = net.add("predictions", { kind: "dense", units: top, bias: true }, x);
  return net.build(x);
}

/** The nearest multiple of 8, but never more than 10 % below: `_make_divisible` of the original. */
function divisibleBy8(channels: number): number {
  const rounded = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}
