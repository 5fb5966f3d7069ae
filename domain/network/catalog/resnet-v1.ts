import { INPUT, type Network } from "../network.js";
import { NetworkBuilder } from "./builder.js";
import { resnetLayers, resnetWidths, type ResnetShape } from "./resnet-depths.js";

/**
 * ResNet version 1 as torchvision has it: its module names (`layer1.0.conv1`), the names of its feature extraction for what is no module of its own
 * (`layer1.0.add`, `layer1.0.relu_1`), padding on all sides, and the stride of a bottleneck on its 3x3 convolution.
 */
export function resnetV1(name: string, { blocks, bottleneck }: ResnetShape, size: number, top: number | undefined): Network {
  const net = new NetworkBuilder(name, [size, size, 3]);
  const { norm, relu, conv } = resnetLayers(net);

  const block = (prefix: string, input: string, width: number, stride: number): string => {
    const filters = bottleneck ? 4 * width : width;
    const convolutions: readonly (readonly [filters: number, kernel: number, stride: number])[] = bottleneck
      ? [
          [width, 1, 1],
          [width, 3, stride],
          [filters, 1, 1],
        ]
      : [
          [width, 3, stride],
          [filters, 3, 1],
        ];
    let x = input;
    for (const [index, shape] of convolutions.entries()) {
      if (index > 0) x = relu(index === 1 ? `${prefix}.relu` : `${prefix}.relu_${index - 1}`, x);
      x = norm(`${prefix}.bn${index + 1}`, conv(`${prefix}.conv${index + 1}`, x, ...shape));
    }
    const fits = stride === 1 && net.channelsOf(input) === filters;
    const shortcut = fits ? input : norm(`${prefix}.downsample.1`, conv(`${prefix}.downsample.0`, input, filters, 1, stride));
    return relu(`${prefix}.relu_${convolutions.length - 1}`, net.add(`${prefix}.add`, { kind: "add" }, x, shortcut));
  };

  let x = relu("relu", norm("bn1", conv("conv1", INPUT, 64, 7, 2)));
  x = net.pool("maxpool", "maxPool", x, { kernel: [3, 3], stride: 2, padding: 1 });
  for (const [stage, width] of resnetWidths.entries()) {
    for (let index = 0; index < (blocks[stage] ?? 0); index++)
      x = block(`layer${stage + 1}.${index}`, x, width, stage > 0 && index === 0 ? 2 : 1);
  }
  x = net.add("global_average_pool", { kind: "globalAveragePool" }, x);
  if (top !== undefined) x = net.add("fc", { kind: "dense", units: top, bias: true }, x);
  return net.build(x);
}
