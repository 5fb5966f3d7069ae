import { INPUT, type Network } from "../network.js";
import { NetworkBuilder } from "./builder.js";

/** Filters and stride of the thirteen separable blocks, as in table 1 of https://arxiv.org/abs/1704.04861. */
const blocks: readonly (readonly [filters: number, stride: number])[] = [
  [64, 1],
  [128, 2],
  [128, 1],
  [256, 2],
  [256, 1],
  [512, 2],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [1024, 2],
  [1024, 1],
];

/** MobileNetV1 with the layer names of Keras; `folded` has a bias in each convolution instead of a batch norm behind it. */
export function mobilenetV1(name: string, width: number, size: number, top: number | undefined, folded: boolean): Network {
  const net = new NetworkBuilder(name, [size, size, 3]);
  const activate = (layer: string): string => {
    const normed = folded ? layer : net.add(`${layer}_bn`, { kind: "batchNorm", epsilon: 1e-3, scale: true, center: true }, layer);
    return net.add(`${layer}_relu`, { kind: "relu6" }, normed);
  };
  const filtersAt = (filters: number): number => Math.max(1, Math.trunc(filters * width));

  let x = activate(net.conv("conv1", INPUT, filtersAt(32), { kernel: [3, 3], stride: 2, padding: "SAME" }, folded));
  for (const [index, [filters, stride]] of blocks.entries()) {
    x = activate(net.depthwise(`conv_dw_${index + 1}`, x, { kernel: [3, 3], stride, padding: "SAME" }, folded));
    x = activate(net.conv(`conv_pw_${index + 1}`, x, filtersAt(filters), { kernel: [1, 1], stride: 1, padding: "VALID" }, folded));
  }
  x = net.add("global_average_pool", { kind: "globalAveragePool" }, x);
  if (top !== undefined) x = net.add("conv_preds", { kind: "dense", units: top, bias: true }, x);
  return net.build(x);
}
