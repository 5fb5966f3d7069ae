import { INPUT, type Network } from "../network.js";
import { NetworkBuilder, type Window } from "./builder.js";

/**
 * Inception v3 (https://arxiv.org/abs/1512.00567) with the layer names of Keras: `mixed0` to `mixed10`, and `conv2d_N`,
 * `batch_normalization_N`, `activation_N` numbered from 1 in the order in which Keras makes them. Any size from 75.
 */
export function inceptionV3(name: string, size: number, top: number | undefined): Network {
  const net = new NetworkBuilder(name, [size, size, 3]);
  let convolutions = 0;
  let maxPools = 0;
  let averagePools = 0;
  let concatenations = 0;

  const conv = (input: string, filters: number, rows: number, columns: number, stride = 1, padding: Window["padding"] = "SAME"): string => {
    const number = ++convolutions;
    const x = net.conv(`conv2d_${number}`, input, filters, { kernel: [rows, columns], stride, padding }, false);
    const normed = net.add(`batch_normalization_${number}`, { kind: "batchNorm", epsilon: 1e-3, scale: false, center: true }, x);
    return net.add(`activation_${number}`, { kind: "relu" }, normed);
  };
  const halve = (input: string): string =>
    net.pool(`max_pooling2d_${++maxPools}`, "maxPool", input, { kernel: [3, 3], stride: 2, padding: "VALID" });
  const smooth = (input: string): string =>
    net.pool(`average_pooling2d_${++averagePools}`, "averagePool", input, { kernel: [3, 3], stride: 1, padding: "SAME" });
  const concat = (layer: string, ...inputs: readonly string[]): string => net.add(layer, { kind: "concat" }, ...inputs);

  let x = conv(INPUT, 32, 3, 3, 2, "VALID");
  x = conv(x, 32, 3, 3, 1, "VALID");
  x = halve(conv(x, 64, 3, 3));
  x = conv(x, 80, 1, 1, 1, "VALID");
  x = halve(conv(x, 192, 3, 3, 1, "VALID"));

  for (const [block, pooled] of [32, 64, 64].entries()) {
    const branch1 = conv(x, 64, 1, 1);
    const branch5 = conv(conv(x, 48, 1, 1), 64, 5, 5);
    const branch3 = conv(conv(conv(x, 64, 1, 1), 96, 3, 3), 96, 3, 3);
    x = concat(`mixed${block}`, branch1, branch5, branch3, conv(smooth(x), pooled, 1, 1));
  }

  const single = conv(x, 384, 3, 3, 2, "VALID");
  const double = conv(conv(conv(x, 64, 1, 1), 96, 3, 3), 96, 3, 3, 2, "VALID");
  x = concat("mixed3", single, double, halve(x));

  for (const [block, inner] of [128, 160, 160, 192].entries()) {
    const branch1 = conv(x, 192, 1, 1);
    const branch7 = conv(conv(conv(x, inner, 1, 1), inner, 1, 7), 192, 7, 1);
    const start = conv(conv(x, inner, 1, 1), inner, 7, 1);
    const branch77 = conv(conv(conv(start, inner, 1, 7), inner, 7, 1), 192, 1, 7);
    x = concat(`mixed${block + 4}`, branch1, branch7, branch77, conv(smooth(x), 192, 1, 1));
  }

  const reduced3 = conv(conv(x, 192, 1, 1), 320, 3, 3, 2, "VALID");
  const reduced7 = conv(conv(conv(conv(x, 192, 1, 1), 192, 1, 7), 192, 7, 1), 192, 3, 3, 2, "VALID");
  x = concat("mixed8", reduced3, reduced7, halve(x));

  for (const block of [0, 1]) {
    const branch1 = conv(x, 320, 1, 1);
    const start3 = conv(x, 384, 1, 1);
    const branch3 = concat(`mixed9_${block}`, conv(start3, 384, 1, 3), conv(start3, 384, 3, 1));
    const start33 = conv(conv(x, 448, 1, 1), 384, 3, 3);
    const branch33 = concat(`concatenate_${++concatenations}`, conv(start33, 384, 1, 3), conv(start33, 384, 3, 1));
    x = concat(`mixed${block + 9}`, branch1, branch3, branch33, conv(smooth(x), 192, 1, 1));
  }
  x = net.add("global_average_pool", { kind: "globalAveragePool" }, x);
  if (top !== undefined) x = net.add("predictions", { kind: "dense", units: top, bias: true }, x);
  return net.build(x);
}
