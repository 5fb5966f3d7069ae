import { INPUT, type Network } from "../network.js";
import { NetworkBuilder } from "./builder.js";
import { resnetLayers, resnetWidths, type ResnetShape } from "./resnet-depths.js";

/**
 * ResNet version 2 (https://arxiv.org/abs/1603.05027: batch norm and relu before each convolution) as Gluon has it, with its names: `features.5.0.conv1`
 * is `net.features[5][0].conv1`, `output` the classifier. `features.0` normalises the pictures without scale and offset; the stages are `features.5` to
 * `features.8`. Activations of a block are `relu1` and so on, after the batch norm of that number.
 */
export function resnetV2(name: string, { blocks, bottleneck }: ResnetShape, size: number, top: number | undefined): Network {
  const net = new NetworkBuilder(name, [size, size, 3]);
  const { norm, relu, conv } = resnetLayers(net);

  const block = (prefix: string, input: string, width: number, stride: number): string => {
    const filters = bottleneck ? 4 * width : width;
    const active = relu(`${prefix}.relu1`, norm(`${prefix}.bn1`, input));
    let x = bottleneck ? conv(`${prefix}.conv1`, active, width, 1, 1) : conv(`${prefix}.conv1`, active, width, 3, stride);
    x = relu(`${prefix}.relu2`, norm(`${prefix}.bn2`, x));
    x = bottleneck ? conv(`${prefix}.conv2`, x, width, 3, stride) : conv(`${prefix}.conv2`, x, filters, 3, 1);
    if (bottleneck) x = conv(`${prefix}.conv3`, relu(`${prefix}.relu3`, norm(`${prefix}.bn3`, x)), filters, 1, 1);
    // Gluon's first block of a stage has a convolution in its shortcut where the channels change; a stride alone never comes without that.
    const fits = net.channelsOf(input) === filters;
    return net.add(`${prefix}.add`, { kind: "add" }, x, fits ? input : conv(`${prefix}.downsample`, active, filters, 1, stride));
  };

  let x = net.add("features.0", { kind: "batchNorm", epsilon: 1e-5, scale: false, center: false }, INPUT);
  x = relu("features.3", norm("features.2", conv("features.1", x, 64, 7, 2)));
  x = net.pool("features.4", "maxPool", x, { kernel: [3, 3], stride: 2, padding: 1 });
  for (const [stage, width] of resnetWidths.entries()) {
    for (let index = 0; index < (blocks[stage] ?? 0); index++)
      x = block(`features.${stage + 5}.${index}`, x, width, stage > 0 && index === 0 ? 2 : 1);
  }
  x = relu("features.10", norm("features.9", x));
  x = net.add("global_average_pool", { kind: "globalAveragePool" }, x);
  if (top !== undefined) x = net.add("output", { kind: "dense", units: top, bias: true }, x);
  return net.build(x);
}
