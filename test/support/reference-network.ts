import { INPUT, type Layer, type Network, type Padding, type Shape } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { layerShapes } from "../../domain/network/shapes.js";

/** Tensors by name, of any precision. */
export type ReferenceWeights = ReadonlyMap<string, { readonly data: ArrayLike<number> }>;

/** Activations by layer name, one array a row; the input's under `INPUT`. */
export type Activations = ReadonlyMap<string, readonly Float64Array[]>;

/** What a layer depends on in training besides input and weights. */
export interface TrainingMode {
  /** By dropout layer, one mask a row. */
  readonly masks: ReadonlyMap<string, readonly ArrayLike<number>[]>;
  /** One a row: whether it counts in the mean and variance that batch norm normalises with. Without it batch norm uses the moving statistics. */
  readonly counted?: readonly boolean[] | undefined;
}

const inference: TrainingMode = { masks: new Map() };

/** One row in float64, layer by layer, by the plainest loops that say what each layer means: what engines are compared with. */
export function referenceForward(network: Network, weights: ReferenceWeights, row: ArrayLike<number>): Float64Array {
  return referenceActivations(network, weights, [Float64Array.from(row)]).get(network.output)?.[0] as Float64Array;
}

/** All activations of rows that share one batch; layers that are `known` are not computed again. */
export function referenceActivations(
  network: Network,
  weights: ReferenceWeights,
  rows: readonly Float64Array[],
  mode: TrainingMode = inference,
  known: Activations = new Map(),
): Activations {
  const shapes = layerShapes(network);
  const values = new Map<string, readonly Float64Array[]>([[INPUT, rows]]);
  for (const layer of network.layers) {
    const inputs = layer.inputs.map((name) => ({ rows: values.get(name) as readonly Float64Array[], shape: shapes.get(name) as Shape }));
    const shape = shapes.get(layer.name) as Shape;
    values.set(layer.name, known.get(layer.name) ?? applyLayer(layer, inputs, shape, weights, mode));
  }
  return values;
}

/** Mean and biased variance by channel over the rows that count and all their places. */
export function moments(
  rows: readonly Float64Array[],
  counted: readonly boolean[],
  channels: number,
): { readonly mean: Float64Array; readonly variance: Float64Array } {
  const used = rows.filter((_, row) => counted[row]);
  const count = used.reduce((sum, row) => sum + row.length, 0) / channels;
  const averageOf = (each: (value: number, channel: number) => number): Float64Array => {
    const sums = new Float64Array(channels);
    for (const row of used) row.forEach((value, i) => (sums[i % channels] = (sums[i % channels] as number) + each(value, i % channels)));
    return sums.map((sum) => sum / count);
  };
  const mean = averageOf((value) => value);
  return { mean, variance: averageOf((value, channel) => (value - (mean[channel] as number)) ** 2) };
}

/** Pixels in RGB order as the network takes them. */
export function referencePixels(pixels: Uint8Array, { channels, mean, deviation }: Preprocessing): Float64Array {
  return Float64Array.from(pixels, (_, i) => {
    const channel = i % 3;
    const pixel = pixels[channels === "RGB" ? i : i - channel + (2 - channel)] as number;
    return (pixel - (mean[channel] as number)) / (deviation[channel] as number);
  });
}

interface Values {
  readonly rows: readonly Float64Array[];
  readonly shape: Shape;
}

function applyLayer(layer: Layer, inputs: readonly Values[], shape: Shape, weights: ReferenceWeights, mode: TrainingMode): Float64Array[] {
  const { rows, shape: inputShape } = inputs[0] as Values;
  const channels = inputShape.at(-1) as number;
  const tensor = (name: string): ArrayLike<number> | undefined => weights.get(`${layer.name}/${name}`)?.data;
  const kernelOf = (name: string): ArrayLike<number> => tensor(name) as ArrayLike<number>;
  switch (layer.kind) {
    case "conv2d": {
      const [kernel, bias] = [kernelOf("kernel"), tensor("bias")];
      return overWindows(inputs[0] as Values, shape, layer.kernel, layer.strides, layer.padding, (data, taps, filter) => {
        let sum = bias?.[filter] ?? 0;
        for (const { at, tap } of taps) {
          for (let c = 0; c < channels; c++)
            sum += (data[at + c] as number) * (kernel[(tap * channels + c) * layer.filters + filter] as number);
        }
        return sum;
      });
    }
    case "depthwiseConv2d": {
      const [kernel, bias] = [kernelOf("depthwise_kernel"), tensor("bias")];
      return overWindows(inputs[0] as Values, shape, layer.kernel, layer.strides, layer.padding, (data, taps, c) =>
        taps.reduce((sum, { at, tap }) => sum + (data[at + c] as number) * (kernel[tap * channels + c] as number), bias?.[c] ?? 0),
      );
    }
    case "maxPool":
      return overWindows(inputs[0] as Values, shape, layer.size, layer.strides, layer.padding, (data, taps, c) =>
        Math.max(...taps.map(({ at }) => data[at + c] as number)),
      );
    case "averagePool":
      return overWindows(
        inputs[0] as Values,
        shape,
        layer.size,
        layer.strides,
        layer.padding,
        (data, taps, c) => taps.reduce((sum, { at }) => sum + (data[at + c] as number), 0) / taps.length,
      );
    case "globalAveragePool":
      return rows.map((data) => moments([data], [true], channels).mean);
    case "zeroPad": {
      const { top, bottom, left, right } = layer.padding;
      const [height, width] = inputShape as [number, number, number];
      return rows.map((data) => {
        const padded = new Float64Array((height + top + bottom) * (width + left + right) * channels);
        for (let y = 0; y < height; y++) {
          const line = data.subarray(y * width * channels, (y + 1) * width * channels);
          padded.set(line, ((y + top) * (width + left + right) + left) * channels);
        }
        return padded;
      });
    }
    case "batchNorm": {
      const moving = { mean: kernelOf("moving_mean"), variance: kernelOf("moving_variance") };
      const { mean, variance } = mode.counted === undefined ? moving : moments(rows, mode.counted, channels);
      const [gamma, beta] = [tensor("gamma"), tensor("beta")];
      return rows.map((data) =>
        data.map((value, i) => {
          const c = i % channels;
          const normal = (value - (mean[c] as number)) / Math.sqrt((variance[c] as number) + layer.epsilon);
          return normal * (gamma?.[c] ?? 1) + (beta?.[c] ?? 0);
        }),
      );
    }
    case "dense": {
      const [kernel, bias] = [kernelOf("kernel"), tensor("bias")];
      return rows.map((data) =>
        Float64Array.from({ length: layer.units }, (_, unit) =>
          data.reduce((sum, value, i) => sum + value * (kernel[i * layer.units + unit] as number), bias?.[unit] ?? 0),
        ),
      );
    }
    case "relu":
      return rows.map((data) => data.map((value) => Math.max(value, 0)));
    case "relu6":
      return rows.map((data) => data.map((value) => Math.min(Math.max(value, 0), 6)));
    case "sigmoid":
      return rows.map((data) => data.map((value) => 1 / (1 + Math.exp(-value))));
    case "softmax":
      return rows.map((data) =>
        data.map((value, i) => {
          const start = i - (i % channels);
          const place = data.subarray(start, start + channels);
          return Math.exp(value) / place.reduce((sum, other) => sum + Math.exp(other), 0);
        }),
      );
    case "add":
      return rows.map((data, row) => data.map((_, i) => inputs.reduce((sum, input) => sum + (input.rows[row]?.[i] as number), 0)));
    case "concat":
      return rows.map((data, row) =>
        Float64Array.from(
          Array.from({ length: data.length / channels }, (_, position) =>
            inputs.flatMap((input) => {
              const width = input.shape.at(-1) as number;
              return [...(input.rows[row] as Float64Array).subarray(position * width, (position + 1) * width)];
            }),
          ).flat(),
        ),
      );
    case "flatten":
      return [...rows];
    case "dropout": {
      const masks = mode.masks.get(layer.name);
      return masks === undefined ? [...rows] : rows.map((data, row) => data.map((value, i) => value * (masks[row]?.[i] as number)));
    }
  }
}

/** Calls `compute` for each row, output place and channel with the taps that lie inside the picture: where their channel 0 lies, and their number in the window. */
function overWindows(
  { rows, shape: [height = 0, width = 0, channels = 0] }: Values,
  output: Shape,
  [tapRows, tapColumns]: readonly [number, number],
  [strideY, strideX]: readonly [number, number],
  { top, left }: Padding,
  compute: (data: Float64Array, taps: readonly { at: number; tap: number }[], channel: number) => number,
): Float64Array[] {
  const [outHeight, outWidth, outChannels] = output as [number, number, number];
  const results = rows.map(() => new Float64Array(outHeight * outWidth * outChannels));
  for (let y = 0; y < outHeight; y++) {
    for (let x = 0; x < outWidth; x++) {
      const taps: { at: number; tap: number }[] = [];
      for (let tap = 0; tap < tapRows * tapColumns; tap++) {
        const sourceY = y * strideY - top + Math.floor(tap / tapColumns);
        const sourceX = x * strideX - left + (tap % tapColumns);
        if (sourceY >= 0 && sourceY < height && sourceX >= 0 && sourceX < width)
          taps.push({ at: (sourceY * width + sourceX) * channels, tap });
      }
      rows.forEach((data, row) => {
        const result = results[row] as Float64Array;
        for (let channel = 0; channel < outChannels; channel++)
          result[(y * outWidth + x) * outChannels + channel] = compute(data, taps, channel);
      });
    }
  }
  return results;
}
