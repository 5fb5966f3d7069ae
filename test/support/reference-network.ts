import { INPUT, type Layer, type Network, type Padding, type Shape, type Weights } from "../../domain/network/network.js";
import { layerShapes } from "../../domain/network/shapes.js";
import type { LossSpec } from "../../domain/training/loss.js";

/** One row in float64, layer by layer, by the plainest loops that say what each layer means: what engines are compared with. */
export function referenceForward(
  network: Network,
  weights: Weights,
  row: ArrayLike<number>,
  masks: ReadonlyMap<string, ArrayLike<number>> = new Map(),
): Float64Array {
  const shapes = layerShapes(network);
  const values = new Map<string, Float64Array>([[INPUT, Float64Array.from(row)]]);
  for (const layer of network.layers) {
    const inputs = layer.inputs.map((name) => ({ data: values.get(name) as Float64Array, shape: shapes.get(name) as Shape }));
    values.set(layer.name, applyLayer(layer, inputs, shapes.get(layer.name) as Shape, weights, masks.get(layer.name)));
  }
  return values.get(network.output) as Float64Array;
}

/** Unweighted loss of one row of logits, in float64. */
export function referenceLoss(logits: ArrayLike<number>, label: number, loss: LossSpec): number {
  const scores = loss.kind === "sigmoid" ? [0, logits[0] as number] : Array.from(logits);
  const largest = Math.max(...scores);
  const logSum = largest + Math.log(scores.reduce((sum, z) => sum + Math.exp(z - largest), 0));
  return scores.reduce(
    (sum, z, column) => sum - ((column === label ? 1 - loss.labelSmoothing : 0) + loss.labelSmoothing / scores.length) * (z - logSum),
    0,
  );
}

interface Value {
  readonly data: Float64Array;
  readonly shape: Shape;
}

function applyLayer(
  layer: Layer,
  inputs: readonly Value[],
  shape: Shape,
  weights: Weights,
  mask: ArrayLike<number> | undefined,
): Float64Array {
  const { data, shape: inputShape } = inputs[0] as Value;
  const channels = inputShape.at(-1) as number;
  const tensor = (name: string): Float32Array | undefined => weights.get(`${layer.name}/${name}`)?.data;
  switch (layer.kind) {
    case "conv2d":
      return overWindows(inputs[0] as Value, shape, layer.kernel, layer.strides, layer.padding, (taps, filter) => {
        let sum = tensor("bias")?.[filter] ?? 0;
        for (const { at, tap } of taps) {
          for (let c = 0; c < channels; c++)
            sum += (data[at + c] as number) * ((tensor("kernel") as Float32Array)[(tap * channels + c) * layer.filters + filter] as number);
        }
        return sum;
      });
    case "depthwiseConv2d":
      return overWindows(inputs[0] as Value, shape, layer.kernel, layer.strides, layer.padding, (taps, c) =>
        taps.reduce(
          (sum, { at, tap }) =>
            sum + (data[at + c] as number) * ((tensor("depthwise_kernel") as Float32Array)[tap * channels + c] as number),
          tensor("bias")?.[c] ?? 0,
        ),
      );
    case "maxPool":
      return overWindows(inputs[0] as Value, shape, layer.size, layer.strides, layer.padding, (taps, c) =>
        Math.max(...taps.map(({ at }) => data[at + c] as number)),
      );
    case "averagePool":
      return overWindows(
        inputs[0] as Value,
        shape,
        layer.size,
        layer.strides,
        layer.padding,
        (taps, c) => taps.reduce((sum, { at }) => sum + (data[at + c] as number), 0) / taps.length,
      );
    case "globalAveragePool": {
      const means = new Float64Array(channels);
      data.forEach((value, i) => (means[i % channels] = (means[i % channels] as number) + (value * channels) / data.length));
      return means;
    }
    case "zeroPad": {
      const { top, bottom, left, right } = layer.padding;
      const [height, width] = inputShape as [number, number, number];
      const padded = new Float64Array((height + top + bottom) * (width + left + right) * channels);
      for (let y = 0; y < height; y++) {
        const line = data.subarray(y * width * channels, (y + 1) * width * channels);
        padded.set(line, ((y + top) * (width + left + right) + left) * channels);
      }
      return padded;
    }
    case "batchNorm":
      return data.map((value, i) => {
        const c = i % channels;
        const normal =
          (value - (tensor("moving_mean")?.[c] as number)) / Math.sqrt((tensor("moving_variance")?.[c] as number) + layer.epsilon);
        return normal * (tensor("gamma")?.[c] ?? 1) + (tensor("beta")?.[c] ?? 0);
      });
    case "dense":
      return Float64Array.from({ length: layer.units }, (_, unit) =>
        data.reduce(
          (sum, value, i) => sum + value * ((tensor("kernel") as Float32Array)[i * layer.units + unit] as number),
          tensor("bias")?.[unit] ?? 0,
        ),
      );
    case "relu":
      return data.map((value) => Math.max(value, 0));
    case "relu6":
      return data.map((value) => Math.min(Math.max(value, 0), 6));
    case "sigmoid":
      return data.map((value) => 1 / (1 + Math.exp(-value)));
    case "softmax":
      return data.map((value, i) => {
        const start = i - (i % channels);
        const row = data.subarray(start, start + channels);
        return Math.exp(value) / row.reduce((sum, other) => sum + Math.exp(other), 0);
      });
    case "add":
      return data.map((_, i) => inputs.reduce((sum, input) => sum + (input.data[i] as number), 0));
    case "concat":
      return Float64Array.from(
        Array.from({ length: data.length / channels }, (_, position) =>
          inputs.flatMap((input) => {
            const width = input.shape.at(-1) as number;
            return [...input.data.subarray(position * width, (position + 1) * width)];
          }),
        ).flat(),
      );
    case "flatten":
      return data;
    case "dropout":
      return mask === undefined ? data : data.map((value, i) => value * (mask[i] as number));
  }
}

/** Calls `compute` for each output place and channel with the taps that lie inside the picture: where their channel 0 lies, and their number in the window. */
function overWindows(
  { shape: [height = 0, width = 0, channels = 0] }: Value,
  output: Shape,
  [rows, columns]: readonly [number, number],
  [strideY, strideX]: readonly [number, number],
  { top, left }: Padding,
  compute: (taps: readonly { at: number; tap: number }[], channel: number) => number,
): Float64Array {
  const [outHeight, outWidth, outChannels] = output as [number, number, number];
  const result = new Float64Array(outHeight * outWidth * outChannels);
  for (let y = 0; y < outHeight; y++) {
    for (let x = 0; x < outWidth; x++) {
      const taps: { at: number; tap: number }[] = [];
      for (let tap = 0; tap < rows * columns; tap++) {
        const sourceY = y * strideY - top + Math.floor(tap / columns);
        const sourceX = x * strideX - left + (tap % columns);
        if (sourceY >= 0 && sourceY < height && sourceX >= 0 && sourceX < width)
          taps.push({ at: (sourceY * width + sourceX) * channels, tap });
      }
      for (let channel = 0; channel < outChannels; channel++) result[(y * outWidth + x) * outChannels + channel] = compute(taps, channel);
    }
  }
  return result;
}
