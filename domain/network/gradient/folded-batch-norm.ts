import { ofBatch } from "./batch-norm.js";
import { elementCount } from "../network.js";
import type { LayerBuilder } from "./builder.js";
import type { KernelKind, KernelLayer } from "./kernel-layer.js";
import type { Value } from "./program.js";
import type { Moments, OfKind } from "./rule.js";

/** A convolution or dense layer and the batch norm after it, as one layer. */
export interface FoldedPass {
  /** What the layer with the kernel gives, where it is computed. */
  readonly inner?: Value;
  readonly output: Value;
  /** With statistics of the batch. */
  readonly moments?: Moments;
  readonly backward: (dy: Value) => FoldedGradients;
}

export interface FoldedGradients {
  readonly dx: Value;
  /** By their names within the layer with the kernel, and within the batch norm. */
  readonly kernelLayer: Readonly<Record<string, Value>>;
  readonly batchNorm: Readonly<Record<string, Value>>;
}

/**
 * A batch norm with the moving statistics is folded into the layer before it: operations on its kernel and bias instead of passes over activations. All are `[C]` but the kernels; bias and beta
 * are 0, gamma is 1 where absent; dkernel' and dbias' are the layer's own gradients with kernel' and bias'.
 *
 *   inv = 1 / sqrt(variance + epsilon)     s = gamma x inv     kernel' = kernel x s     bias' = (bias - mean) x s + beta
 *   dkernel = dkernel' x s     ds = sum over each output channel of dkernel' x kernel + (bias - mean) x dbias'
 *   dbias = dbias' x s     dgamma = ds x inv     dbeta = dbias'
 */
export function foldedPass<L extends OfKind<KernelKind>>(
  { kernelName, channels, forward, backward }: KernelLayer<L>,
  layer: L,
  norm: OfKind<"batchNorm">,
  x: Value,
  build: LayerBuilder,
  buildNorm: LayerBuilder,
): FoldedPass {
  const kernel = build.parameter(kernelName);
  const bias = layer.bias ? build.parameter("bias") : undefined;
  const mean = buildNorm.statistic("moving_mean");
  const inverse = buildNorm.tensor({ kind: "inverseRoot", epsilon: norm.epsilon }, [buildNorm.statistic("moving_variance")]);
  const scale = norm.scale ? buildNorm.product(buildNorm.parameter("gamma"), inverse) : inverse;
  const scaled = (value: Value): Value => buildNorm.tensor({ kind: "scaleKernel", channels }, [value, scale]);
  const centred = bias ? buildNorm.difference(bias, mean) : buildNorm.negative(mean);
  const offset = buildNorm.product(centred, scale);
  const foldedBias = norm.center ? buildNorm.sum(offset, buildNorm.parameter("beta")) : offset;
  const foldedKernel = scaled(kernel);
  return {
    output: forward(layer, { x, kernel: foldedKernel, bias: foldedBias }, build),
    backward: (dy) => {
      const { dx, dkernel, dbias } = backward(layer, { x, kernel: foldedKernel }, dy, build);
      const dscale = buildNorm.sum(
        buildNorm.tensor({ kind: "dotKernels", channels }, [dkernel, kernel], mean.shape),
        buildNorm.product(centred, dbias),
      );
      return {
        dx,
        kernelLayer: { [kernelName]: scaled(dkernel), ...(bias && { bias: buildNorm.product(dbias, scale) }) },
        batchNorm: { ...(norm.scale && { gamma: buildNorm.product(dscale, inverse) }), ...(norm.center && { beta: dbias }) },
      };
    },
  };
}

/**
 * A batch norm with statistics of the batch needs what the layer before it gives. But on the way back the factor s of its gradient s x u (batch-norm.ts) goes into the kernel, where that is smaller than one
 * row of the activation:
 *
 *   dx is the layer's own for u with the kernel x s     dkernel = dkernel of u x s     dbias = dbias of u x s
 */
export function foldedPassOfBatch<L extends OfKind<KernelKind>>(
  { kernelName, channels, forward, backward }: KernelLayer<L>,
  layer: L,
  norm: OfKind<"batchNorm">,
  x: Value,
  build: LayerBuilder,
  buildNorm: LayerBuilder,
): FoldedPass {
  const kernel = build.parameter(kernelName);
  const bias = layer.bias ? build.parameter("bias") : undefined;
  const inner = forward(layer, { x, kernel, bias }, build);
  const { output, moments, backward: backwardNorm } = ofBatch(norm, inner, buildNorm);
  return {
    inner,
    output,
    moments,
    backward: (dy) => {
      const { u, scale, parameters } = backwardNorm(dy);
      if (elementCount(kernel.shape) > elementCount(inner.shape)) {
        const dinner = buildNorm.activation({ kind: "scaleChannels" }, [u, scale]);
        const { dx, dkernel, dbias } = backward(layer, { x, kernel }, dinner, build);
        return { dx, kernelLayer: { [kernelName]: dkernel, ...(bias && { bias: dbias }) }, batchNorm: parameters };
      }
      const scaled = (value: Value): Value => buildNorm.tensor({ kind: "scaleKernel", channels }, [value, scale]);
      const { dx, dkernel, dbias } = backward(layer, { x, kernel: scaled(kernel) }, u, build);
      return {
        dx,
        kernelLayer: { [kernelName]: scaled(dkernel), ...(bias && { bias: buildNorm.product(dbias, scale) }) },
        batchNorm: parameters,
      };
    },
  };
}
