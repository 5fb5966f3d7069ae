import type { LayerBuilder } from "./builder.js";
import type { Channels, Value } from "./program.js";
import type { LayerRule, OfKind } from "./rule.js";

/** Kinds of layers that multiply by a kernel and may add a bias. */
export type KernelKind = "conv2d" | "depthwiseConv2d" | "dense";

/** How a kind of layer uses its kernel and bias, whatever these are: its own parameters, or what they become with a batch norm folded into them. */
export interface KernelLayer<L extends OfKind<KernelKind>> {
  /** The kernel's name within the layer. */
  readonly kernelName: "kernel" | "depthwise_kernel";
  readonly channels: Channels;
  readonly forward: (layer: L, operands: KernelOperands & { readonly bias: Value | undefined }, build: LayerBuilder) => Value;
  readonly backward: (layer: L, operands: KernelOperands, dy: Value, build: LayerBuilder) => KernelGradients;
}

export interface KernelOperands {
  readonly x: Value;
  readonly kernel: Value;
}

export interface KernelGradients {
  readonly dx: Value;
  readonly dkernel: Value;
  readonly dbias: Value;
}

/** The layer with its own parameters. */
export function kernelRule<L extends OfKind<KernelKind>>({ kernelName, forward, backward }: KernelLayer<L>): LayerRule<L> {
  return (layer, [x], build) => {
    const kernel = build.parameter(kernelName);
    const bias = layer.bias ? build.parameter("bias") : undefined;
    return {
      output: forward(layer, { x, kernel, bias }, build),
      backward: (dy) => {
        const { dx, dkernel, dbias } = backward(layer, { x, kernel }, dy, build);
        return { inputs: [dx], parameters: { [kernelName]: dkernel, ...(bias && { bias: dbias }) } };
      },
    };
  };
}
