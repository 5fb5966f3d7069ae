import { INPUT, type Network } from "../network.js";
import { NetworkBuilder } from "./builder.js";

/** Filters of the squeeze and of each of the two expand convolutions of fire2 to fire9. */
const fires: readonly (readonly [squeeze: number, expand: number])[] = [
  [16, 64],
  [16, 64],
  [32, 128],
  [32, 128],
  [48, 192],
  [48, 192],
  [64, 256],
  [64, 256],
];

/** SqueezeNet 1.1 without its top (https://github.com/forresti/SqueezeNet), with the layer names of keras-squeezenet; its last dropout is left out. */
export function squeezenet(name: string, size: number): Network {
  const net = new NetworkBuilder(name, [size, size, 3]);
  const relu = (layer: string, input: string): string => net.add(layer, { kind: "relu" }, input);
  const pool = (layer: string, input: string): string => net.pool(layer, "maxPool", input, { kernel: [3, 3], stride: 2, padding: "VALID" });

  let x = net.conv("conv1", INPUT, 64, { kernel: [3, 3], stride: 2, padding: "VALID" }, true);
  x = pool("pool1", relu("relu_conv1", x));
  for (const [index, [squeeze, expand]] of fires.entries()) {
    const fire = `fire${index + 2}`;
    const squeezed = relu(
      `${fire}/relu_squeeze1x1`,
      net.conv(`${fire}/squeeze1x1`, x, squeeze, { kernel: [1, 1], stride: 1, padding: "VALID" }, true),
    );
    const one = relu(
      `${fire}/relu_expand1x1`,
      net.conv(`${fire}/expand1x1`, squeezed, expand, { kernel: [1, 1], stride: 1, padding: "VALID" }, true),
    );
    const three = relu(
      `${fire}/relu_expand3x3`,
      net.conv(`${fire}/expand3x3`, squeezed, expand, { kernel: [3, 3], stride: 1, padding: "SAME" }, true),
    );
    x = net.add(`${fire}/concat`, { kind: "concat" }, one, three);
    if (fire === "fire3") x = pool("pool3", x);
    if (fire === "fire5") x = pool("pool5", x);
  }
  return net.build(net.add("global_average_pool", { kind: "globalAveragePool" }, x));
}
