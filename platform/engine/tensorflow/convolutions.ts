import type { LayerKind } from "../../../domain/network/network.js";
import { equalPaddings, noPadding } from "../../../domain/network/catalog/same-padding.js";
import type { Kernels, Value } from "./kernels.js";
import { float32, type LayerContext, type LayerRun } from "./layer-run.js";
import { reshaped, windowAttributes } from "./pooling.js";

type OfKind<Kind extends LayerKind["kind"]> = Extract<LayerKind, { readonly kind: Kind }>;

/** `[rows, in] x kernel [in, units] + bias` */
export function runDense(layer: { readonly bias: boolean }, input: Value, { kernels, weight }: LayerContext): LayerRun {
  const kernel = weight("kernel");
  return {
    output: withBias(kernels, product(kernels, input, kernel), layer.bias ? weight("bias") : undefined),
    temporary: [],
    saved: [input],
    backward: (gradient, wanted) => ({
      inputs: wanted ? [product(kernels, gradient, kernel, { transposeB: true })] : [],
      weights: {
        kernel: product(kernels, input, gradient, { transposeA: true }),
        ...(layer.bias && { bias: biasGradient(kernels, gradient) }),
      },
    }),
  };
}

/** The gradient of a bias: the sum over all but the innermost axis. */
export function biasGradient(kernels: Kernels, gradient: Value): Value {
  return kernels.one("BiasAddGrad", { ...float32, data_format: "NHWC" }, [gradient]);
}

/** The weight of each kind and TensorFlow's kernels, which have the same attributes for both. */
const convolutions = {
  conv2d: { kernel: "kernel", forward: "Conv2D", ofKernel: "Conv2DBackpropFilter", ofInput: "Conv2DBackpropInput" },
  depthwiseConv2d: {
    kernel: "depthwise_kernel",
    forward: "DepthwiseConv2dNative",
    ofKernel: "DepthwiseConv2dNativeBackpropFilter",
    ofInput: "DepthwiseConv2dNativeBackpropInput",
  },
} as const;

export function runConvolution(layer: OfKind<keyof typeof convolutions>, input: Value, context: LayerContext): LayerRun {
  if (layer.kind === "conv2d" && isPointwise(layer)) return runPointwise(layer, input, context);
  const { kernels, weight } = context;
  const names = convolutions[layer.kind];
  const kernel = weight(names.kernel);
  const attributes = { ...float32, ...windowAttributes(layer.strides, layer.padding), dilations: [1, 1, 1, 1] };
  return {
    output: withBias(kernels, kernels.one(names.forward, attributes, [input, kernel]), layer.bias ? weight("bias") : undefined),
    temporary: [],
    saved: [input],
    backward(gradient, wanted) {
      const [kernelShape, inputShape] = [kernels.integers(kernel.shape), kernels.integers(input.shape)];
      const ofKernel = kernels.one(names.ofKernel, attributes, [input, kernelShape, gradient], [kernelShape]);
      const inputs = wanted ? [kernels.one(names.ofInput, attributes, [inputShape, kernel, gradient])] : [];
      kernels.release(inputShape);
      return { inputs, weights: { [names.kernel]: ofKernel, ...(layer.bias && { bias: biasGradient(kernels, gradient) }) } };
    },
  };
}

function isPointwise({ kernel, strides, padding }: OfKind<"conv2d">): boolean {
  return Math.max(...kernel, ...strides) === 1 && equalPaddings(padding, noPadding);
}

/**
 * A window of one place is a dense layer on every place, `[rows x height x width, channels] x [channels, filters]`. Only shapes change, no value is copied. In MobileNetV2 these products take three
 * quarters of the time of the convolutions (oneDNN, 4 rows).
 */
function runPointwise(layer: OfKind<"conv2d">, input: Value, context: LayerContext): LayerRun {
  const { kernels, weight } = context;
  const [rows = 0, height = 0, width = 0, channels = 0] = input.shape;
  const places = rows * height * width;
  const kernel = reshaped(kernels, weight("kernel"), [channels, layer.filters]);
  const flat = reshaped(kernels, input, [places, channels]);
  const dense = runDense(layer, flat, { ...context, weight: (name) => (name === "kernel" ? kernel : weight(name)) });
  return {
    output: reshaped(kernels, dense.output, [rows, height, width, layer.filters], [dense.output]),
    temporary: [kernel, flat],
    saved: [kernel, flat],
    backward(gradient, wanted) {
      const ofPlaces = reshaped(kernels, gradient, [places, layer.filters]);
      const { inputs, weights } = dense.backward(ofPlaces, wanted);
      kernels.release(ofPlaces);
      return { inputs: inputs.map((value) => reshaped(kernels, value, input.shape, [value])), weights };
    },
  };
}

/** Adds `bias` to the innermost axis and frees the sum without it. */
function withBias(kernels: Kernels, value: Value, bias: Value | undefined): Value {
  return bias === undefined ? value : kernels.one("BiasAdd", { ...float32, data_format: "NHWC" }, [value, bias], [value]);
}

function product(kernels: Kernels, a: Value, b: Value, { transposeA = false, transposeB = false } = {}): Value {
  return kernels.one("MatMul", { ...float32, transpose_a: transposeA, transpose_b: transposeB }, [a, b]);
}
