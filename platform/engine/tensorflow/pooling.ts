import type { LayerKind, Padding, Pair } from "../../../domain/network/network.js";
import { equalPaddings, noPadding, samePadding } from "../../../domain/network/catalog/same-padding.js";
import type { AttributeValue, Kernels, Value } from "./kernels.js";
import { float32, type LayerContext, type LayerRun } from "./layer-run.js";

/** Layers that slide a window over the picture `[rows, height, width, channels]`. */
type OfKind<Kind extends LayerKind["kind"]> = Extract<LayerKind, { readonly kind: Kind }>;

export function runMaxPool(layer: OfKind<"maxPool">, input: Value, { kernels }: LayerContext): LayerRun {
  const attributes = { ...float32, ...windowAttributes(layer.strides, layer.padding), ksize: [1, ...layer.size, 1] };
  const output = kernels.one("MaxPool", attributes, [input]);
  return {
    output,
    temporary: [],
    saved: [input, output],
    backward: (gradient, wanted) => ({
      inputs: wanted ? [kernels.one("MaxPoolGrad", attributes, [input, output, gradient])] : [],
      weights: {},
    }),
  };
}

/**
 * The kernel knows SAME and VALID only, and leaves the padding out of the average in SAME. Any other padding is filled with zeros, averaged over whole windows and multiplied by
 * window / counted places.
 */
export function runAveragePool(layer: OfKind<"averagePool">, input: Value, { kernels }: LayerContext): LayerRun {
  const { size, strides, padding } = layer;
  const [rows = 0, height = 0, width = 0, channels = 0] = input.shape;
  const pool = { ...float32, data_format: "NHWC", ksize: [1, ...size, 1], strides: [1, ...strides, 1] };
  const isSame = equalPaddings(padding, samePadding([height, width], size, strides));
  if (isSame || equalPaddings(padding, noPadding)) {
    const attributes = { ...pool, padding: isSame ? "SAME" : "VALID" };
    return {
      output: kernels.one("AvgPool", attributes, [input]),
      temporary: [],
      saved: [],
      backward: (gradient, wanted) => ({
        inputs: wanted ? [averageGradient(kernels, attributes, input.shape, gradient)] : [],
        weights: {},
      }),
    };
  }
  const attributes = { ...pool, padding: "VALID" };
  const padded = zeroPad(kernels, input, padding);
  const paddedShape = [rows, height + padding.top + padding.bottom, width + padding.left + padding.right, channels];
  const averages = kernels.one("AvgPool", attributes, [padded], [padded]);
  const [, outHeight = 0, outWidth = 0] = averages.shape;
  const counted = [
    countedAlong(height, size[0], strides[0], padding.top, outHeight),
    countedAlong(width, size[1], strides[1], padding.left, outWidth),
  ] as const;
  const factors = counted[0].flatMap((places) => counted[1].map((others) => (size[0] * size[1]) / (places * others)));
  const scale = kernels.upload(Float32Array.from(factors), [1, outHeight, outWidth, 1]);
  return {
    output: kernels.one("Mul", float32, [averages, scale], [averages]),
    temporary: [scale],
    saved: [scale],
    backward(gradient, wanted) {
      if (!wanted) return { inputs: [], weights: {} };
      const scaled = kernels.one("Mul", float32, [gradient, scale]);
      const ofPadded = averageGradient(kernels, attributes, paddedShape, scaled);
      kernels.release(scaled);
      return { inputs: [cropped(kernels, ofPadded, padding, input.shape)], weights: {} };
    },
  };
}

/** The average over all places, as one window. */
export function runGlobalAveragePool(input: Value, { kernels }: LayerContext): LayerRun {
  const [rows = 0, height = 0, width = 0, channels = 0] = input.shape;
  const attributes = { ...float32, data_format: "NHWC", ksize: [1, height, width, 1], strides: [1, height, width, 1], padding: "VALID" };
  const pooled = kernels.one("AvgPool", attributes, [input]);
  return {
    output: reshaped(kernels, pooled, [rows, channels], [pooled]),
    temporary: [],
    saved: [],
    backward(gradient, wanted) {
      if (!wanted) return { inputs: [], weights: {} };
      const places = reshaped(kernels, gradient, [rows, 1, 1, channels]);
      const ofInput = averageGradient(kernels, attributes, input.shape, places);
      kernels.release(places);
      return { inputs: [ofInput], weights: {} };
    },
  };
}

export function runZeroPad({ padding }: OfKind<"zeroPad">, input: Value, { kernels }: LayerContext): LayerRun {
  return {
    output: zeroPad(kernels, input, padding),
    temporary: [],
    saved: [],
    backward: (gradient, wanted) => ({
      inputs: wanted ? [cropped(kernels, kernels.hold(gradient), padding, input.shape)] : [],
      weights: {},
    }),
  };
}

export function reshaped(kernels: Kernels, value: Value, shape: readonly number[], temporary: readonly Value[] = []): Value {
  const target = kernels.integers(shape);
  return kernels.one("Reshape", { ...float32, Tshape: { type: "int32" } }, [value, target], [target, ...temporary]);
}

function zeroPad(kernels: Kernels, input: Value, { top, bottom, left, right }: Padding): Value {
  const paddings = kernels.integers([0, 0, top, bottom, left, right, 0, 0], [4, 2]);
  return kernels.one("Pad", { ...float32, Tpaddings: { type: "int32" } }, [input, paddings], [paddings]);
}

/** What lies inside the padding; frees `padded`. */
function cropped(kernels: Kernels, padded: Value, { top, left }: Padding, shape: readonly number[]): Value {
  const [begin, size] = [kernels.integers([0, top, left, 0]), kernels.integers(shape)];
  return kernels.one("Slice", { ...float32, Index: { type: "int32" } }, [padded, begin, size], [begin, size, padded]);
}

function averageGradient(
  kernels: Kernels,
  attributes: Readonly<Record<string, AttributeValue>>,
  inputShape: readonly number[],
  gradient: Value,
): Value {
  const shape = kernels.integers(inputShape);
  return kernels.one("AvgPoolGrad", attributes, [shape, gradient], [shape]);
}

export function windowAttributes(strides: Pair, { top, bottom, left, right }: Padding): Record<string, AttributeValue> {
  const isPadded = top + bottom + left + right > 0;
  return {
    strides: [1, ...strides, 1],
    data_format: "NHWC",
    padding: isPadded ? "EXPLICIT" : "VALID",
    explicit_paddings: isPadded ? [0, 0, top, bottom, left, right, 0, 0] : [],
  };
}

/** Of each window along one axis, how many places lie inside the picture. */
function countedAlong(length: number, size: number, stride: number, before: number, windows: number): number[] {
  return Array.from({ length: windows }, (_, i) => {
    const start = i * stride - before;
    return Math.min(start + size, length) - Math.max(start, 0);
  });
}
