import { INPUT, type Network } from "../network.js";
import { NetworkBuilder } from "./builder.js";

/** Convolutions and filters of the five blocks: column D of https://arxiv.org/abs/1409.1556. */
const blocks: readonly (readonly [convolutions: number, filters: number])[] = [
  [2, 64],
  [2, 128],
  [3, 256],
  [3, 512],
  [3, 512],
];

/** VGG-16 with the layer names of Keras; the relu of a layer is one of its own, `block1_conv1_relu`. Its top stands on all of `block5_pool`, flattened. */
export function vgg16(name: string, size: number, top: number | undefined): Network {
  const net = new NetworkBuilder(name, [size, size, 3]);
  const relu = (input: string): string => net.add(`${input}_relu`, { kind: "relu" }, input);
  const dense = (layer: string, units: number, input: string): string => net.add(layer, { kind: "dense", units, bias: true }, input);

  let x = INPUT;
  for (const [index, [convolutions, filters]] of blocks.entries()) {
    const block = `block${index + 1}`;
    for (let number = 1; number <= convolutions; number++)
      x = relu(net.conv(`${block}_conv${number}`, x, filters, { kernel: [3, 3], stride: 1, padding: "SAME" }, true));
    x = net.pool(`${block}_pool`, "maxPool", x, { kernel: [2, 2], stride: 2, padding: "VALID" });
  }
  if (top === undefined) return net.build(net.add("global_average_pool", { kind: "globalAveragePool" }, x));

  x = net.add("flatten", { kind: "flatten" }, x);
  x = relu(dense("fc2", 4096, relu(dense("fc1", 4096, x))));
  return net.build(dense("predictions", top, x));
}
