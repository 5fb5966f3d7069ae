import type { Channels, Window } from "./program.js";
import type { KernelLayer } from "./kernel-layer.js";
import type { OfKind } from "./rule.js";

/**
 * With x `[rows, h, w, in]`, y `[rows, h', w', filters]`, kernel `[kh, kw, in, filters]`, bias `[filters]`, places p of y, taps t of the window, and x 0 in the padding:
 *
 *   y[p, f] = sum over t, c of x[p x stride + t - padding, c] x kernel[t, c, f] + bias[f]
 *   dx[q, c] = sum over f and all p, t with p x stride + t - padding = q of dy[p, f] x kernel[t, c, f]
 *   dkernel[t, c, f] = sum over rows, p of x[p x stride + t - padding, c] x dy[p, f]
 *   dbias[f] = sum over rows, p of dy[p, f]
 */
export const conv2d = convolution<OfKind<"conv2d">>("kernel", "all");

/** The same for each channel alone, with kernel `[kh, kw, in, 1]`: y[p, c] = sum over t of x[p x stride + t - padding, c] x kernel[t, c] + bias[c]. */
export const depthwiseConv2d = convolution<OfKind<"depthwiseConv2d">>("depthwise_kernel", "each");

function convolution<L extends OfKind<"conv2d" | "depthwiseConv2d">>(
  kernelName: "kernel" | "depthwise_kernel",
  channels: Channels,
): KernelLayer<L> {
  const attributesOf = ({ kernel: size, strides, padding }: L): { readonly window: Window; readonly channels: Channels } => ({
    window: { size, strides, padding },
    channels,
  });
  return {
    kernelName,
    channels,
    forward: (layer, { x, kernel, bias }, build) =>
      build.output({ kind: "convolution", ...attributesOf(layer) }, bias ? [x, kernel, bias] : [x, kernel]),
    backward: (layer, { x, kernel }, dy, build) => ({
      dx: build.activation({ kind: "convolutionInputGradient", ...attributesOf(layer) }, [dy, kernel], x.shape),
      dkernel: build.tensor({ kind: "convolutionKernelGradient", ...attributesOf(layer) }, [x, dy], kernel.shape),
      dbias: build.sumOverRows(dy),
    }),
  };
}
