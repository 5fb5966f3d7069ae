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
  readonly apply: (layer: L, operands: KernelOperands, build: LayerBuilder) => KernelPass;
}

export interface KernelOperands {
  readonly x: Value;
  readonly kernel: Value;
  readonly bias: Value | undefined;
}

export interface KernelPass {
  readonly output: Value;
  readonly backward: (dy: Value) => { readonly dx: Value; readonly dkernel: Value; readonly dbias: Value };
}

/** The layer with its own parameters. */
export function kernelRule<L extends OfKind<KernelKind>>({ kernelName, apply }: KernelLayer<L>): LayerRule<L> {
  return (layer, [x], build) => {
    const kernel = build.parameter(kernelName);
    const bias = layer.bias ? build.parameter("bias") : undefined;
    const { output, backward } = apply(layer, { x, kernel, bias }, build);
    return {
      output,
      backward: (dy) => {
        const { dx, dkernel, dbias } = backward(dy);
        return { inputs: [dx], parameters: { [kernelName]: dkernel, ...(bias && { bias: dbias }) } };
      },
    };
  };
}
