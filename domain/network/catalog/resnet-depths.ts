import type { NetworkBuilder } from "./builder.js";
/** What the depths of a ResNet share between both versions: table 1 of https://arxiv.org/abs/1512.03385. */
export interface ResnetShape {
  /** Blocks of each of the four stages. */
  readonly blocks: readonly [number, number, number, number];
  /** Blocks of 1x1, 3x3 and 1x1 convolutions, the last of them four times as wide, instead of two of 3x3. */
  readonly bottleneck: boolean;
}

export type ResnetDepth = 18 | 34 | 50;

export const resnetDepths: Readonly<Record<ResnetDepth, ResnetShape>> = {
  18: { blocks: [2, 2, 2, 2], bottleneck: false },
  34: { blocks: [3, 4, 6, 3], bottleneck: false },
  50: { blocks: [3, 4, 6, 3], bottleneck: true },
};

/** Channels of the 3x3 convolutions in each stage. */
export const resnetWidths = [64, 128, 256, 512] as const;

/** Adds the layers of which every ResNet consists: batch norm, relu, and convolutions that are padded on all sides and have no bias. */
export function resnetLayers(net: NetworkBuilder) {
  return {
    norm: (layer: string, input: string): string => net.add(layer, { kind: "batchNorm", epsilon: 1e-5, scale: true, center: true }, input),
    relu: (layer: string, input: string): string => net.add(layer, { kind: "relu" }, input),
    conv: (layer: string, input: string, filters: number, kernel: number, stride: number): string =>
      net.conv(layer, input, filters, { kernel: [kernel, kernel], stride, padding: (kernel - 1) / 2 }, false),
  };
}
