import type { Padding, Pair, Shape } from "../network.js";

/**
 * What a primitive operation computes: `[rows, ...shape]` where it has rows (activations and their gradients, NHWC), else `[...shape]` (parameters, their gradients, and what is derived from them).
 * A value without rows that comes out of values with rows is a sum, or a mean, over the rows of one grain.
 */
export interface Value {
  /** Its place in `GradientProgram.operations`. */
  readonly id: number;
  readonly shape: Shape;
  readonly hasRows: boolean;
}

/** A window that slides over a picture. */
export interface Window {
  readonly size: Pair;
  readonly strides: Pair;
  readonly padding: Padding;
}

/** Where a convolution's kernel is `[h, w, in, filters]`, or one for each channel, `[h, w, channels, 1]`. */
export type Channels = "all" | "each";

/**
 * The primitive operations of a forward and backward pass. `x`, `y` stand for activations, `dy` for the gradient of an activation, `[C]` for one number a channel (the last axis).
 * In the comments, operands come first, the result after the arrow; operands in brackets may be left out.
 */
export type Primitive =
  // What enters.
  /** -> x: what enters the network. */
  | { readonly kind: "features" }
  /** -> the trained tensor of that name (`LAYER/kernel` and so on). */
  | { readonly kind: "parameter"; readonly name: string }
  /** -> the moving statistic of that name. */
  | { readonly kind: "statistic"; readonly name: string }
  /** -> what a dropout layer multiplies by: 0 or 1 / (1 - rate). */
  | { readonly kind: "mask"; readonly layer: string }
  /** -> gradient of the loss by the network's output. */
  | { readonly kind: "outputGradient" }
  // Convolutions and products.
  /** x, kernel, [bias] -> y */
  | { readonly kind: "convolution"; readonly window: Window; readonly channels: Channels }
  /** dy, kernel -> dx */
  | { readonly kind: "convolutionInputGradient"; readonly window: Window; readonly channels: Channels }
  /** x, dy -> dkernel, over the rows */
  | { readonly kind: "convolutionKernelGradient"; readonly window: Window; readonly channels: Channels }
  /** x `[in]`, kernel `[in, units]`, [bias] -> y `[units]` */
  | { readonly kind: "product" }
  /** dy, kernel -> dx */
  | { readonly kind: "productInputGradient" }
  /** x, dy -> dkernel, over the rows */
  | { readonly kind: "productKernelGradient" }
  // Over the rows and places of a grain. With statistics of the batch only rows of weight > 0 count: padding must not show in them.
  /** x -> [C]: the sum over the rows that count. (Gradients are 0 in the others.) */
  | { readonly kind: "sumOverRows" }
  /** a, b, [centre [C]] -> [C]: the sum of a x (b - centre) over the rows that count; with a centre near the mean of b little is lost to rounding */
  | { readonly kind: "dotOverRows" }
  /** sum [C] -> sum / (rows that count x places); 0 where no row counts */
  | { readonly kind: "meanOfSum"; readonly places: number }
  /** x, mean [C] -> [C]: the biased variance over the rows that count; 0 where no row counts */
  | { readonly kind: "varianceOverRows" }
  /** x -> x, with 0 in rows that do not count */
  | { readonly kind: "countedRows" }
  // One number a channel.
  /** x, scale [C], [offset [C]] -> x * scale + offset */
  | { readonly kind: "scaleChannels" }
  /** a, b, q [C], r [C] -> a + b * q + r */
  | { readonly kind: "addScaled" }
  // Activations. The gradients take y, what the activation gave.
  | { readonly kind: "relu" | "relu6" | "sigmoid" | "softmax" }
  /** dy, y -> dx. A relu hands nothing down at 0, a relu6 neither at 0 nor at 6. */
  | { readonly kind: "reluGradient" | "relu6Gradient" | "sigmoidGradient" | "softmaxGradient" }
  // Element by element, of values of one shape.
  | { readonly kind: "add" | "multiply" }
  // Shapes and places.
  /** Along the channels. */
  | { readonly kind: "concat" }
  /** The channels from `first` on, as many as the result has. */
  | { readonly kind: "channels"; readonly first: number }
  | { readonly kind: "reshape" }
  | { readonly kind: "pad"; readonly padding: Padding }
  | { readonly kind: "crop"; readonly padding: Padding }
  | { readonly kind: "maxPool" | "averagePool"; readonly window: Window }
  /** dy, x, y -> dx; of several largest values the first one, row by row, has it all. */
  | { readonly kind: "maxPoolGradient"; readonly window: Window }
  /** dy -> dx. Padding does not count. */
  | { readonly kind: "averagePoolGradient"; readonly window: Window }
  | { readonly kind: "globalAveragePool" }
  /** dy -> dx */
  | { readonly kind: "globalAveragePoolGradient" }
  // Tensors without rows.
  /** variance [C] -> 1 / sqrt(variance + epsilon) */
  | { readonly kind: "inverseRoot"; readonly epsilon: number }
  /** a, b -> element by element, both of one shape */
  | { readonly kind: "parameterProduct" | "parameterSum" | "parameterDifference" }
  /** a -> -a */
  | { readonly kind: "negative" }
  /** kernel, scale [C] -> kernel with each output channel scaled: the last axis, or the third where `channels` is "each" */
  | { readonly kind: "scaleKernel"; readonly channels: Channels }
  /** a, b, both kernels -> [C]: the sum of a x b for each output channel */
  | { readonly kind: "dotKernels"; readonly channels: Channels };

export type PrimitiveKind = Primitive["kind"];

export interface Operation {
  readonly primitive: Primitive;
  readonly operands: readonly Value[];
  readonly result: Value;
  /** The layer that it belongs to, for messages and names. */
  readonly layer: string;
}

/** Forward and backward pass of a network as one list of primitive operations, in an order in which every operand precedes its use. */
export interface GradientProgram {
  readonly name: string;
  readonly operations: readonly Operation[];
  /** How many of them are the forward pass; the next one is `outputGradient`, and the backward pass follows. */
  readonly forward: number;
  readonly output: Value;
  /** What each layer that is computed gives, by its name; a batch norm that is folded into the layer before it and that layer have one value. */
  readonly activations: ReadonlyMap<string, Value>;
  /** By the names of parameters; parameters that do not reach the output are left out. */
  readonly gradients: ReadonlyMap<string, Value>;
  /** With statistics of the batch: mean and biased variance of what enters each batch norm layer, over the rows that count and the places of a grain. */
  readonly moments: ReadonlyMap<string, { readonly mean: Value; readonly variance: Value }>;
}
