import { CodedError } from "../errors.js";
import { elementCount, INPUT, type Layer, type LayerKind, type Network, type Padding, type Pair, type Shape } from "./network.js";

/** One weight tensor that a network needs: `LAYER/kernel` and so on. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: Shape;
  /** False for the moving statistics of batch norm. */
  readonly trainable: boolean;
}

/** Bounds of what an untrusted description may ask for. */
const bounds = {
  /** The largest published image networks have some 2,000 layers. */
  layers: 10_000,
  nameLength: 200,
  /** Any length of a shape, kernel, stride or padding. */
  length: 1 << 20,
  /** Values of one activation or one weight tensor: 2 GiB of float32. */
  elements: 1 << 29,
} as const;

/**
 * The shape of every layer's activation, without the batch dimension, and of `INPUT`. Checks the whole network on the way.
 * @throws CodedError NETWORK_INVALID naming the layer.
 */
export function layerShapes(network: Network): Map<string, Shape> {
  if (!isShape(network.inputShape)) {
    throw invalid(network, `the input shape must be lengths from 1 to ${bounds.length}, found [${network.inputShape.join(", ")}]`);
  }
  if (network.layers.length > bounds.layers)
    throw invalid(network, `at most ${bounds.layers} layers are allowed, found ${network.layers.length}`);

  const shapes = new Map<string, Shape>([[INPUT, network.inputShape]]);
  for (const layer of network.layers) {
    if (layer.name === INPUT) throw invalid(network, `a layer is named "${INPUT}", which stands for what enters the network; rename it`);
    if (layer.name === "" || layer.name.length > bounds.nameLength) {
      throw invalid(
        network,
        `layer names must have 1 to ${bounds.nameLength} characters, found ${JSON.stringify(layer.name.slice(0, 80))}`,
      );
    }
    if (shapes.has(layer.name)) throw invalid(network, `two layers are named "${layer.name}"; names must be unique`);
    const inputs = layer.inputs.map((input) => {
      const shape = shapes.get(input);
      if (shape === undefined) throw layerInvalid(network.name, layer, `its input "${input}" is no earlier layer`);
      return shape;
    });
    const shape = outputShape(network.name, layer, inputs);
    if (!isShape(shape))
      throw layerInvalid(network.name, layer, `its output [${shape.join(", ")}] is empty or has more than ${bounds.elements} values`);
    shapes.set(layer.name, shape);
  }
  if (!shapes.has(network.output)) throw invalid(network, `its output "${network.output}" is none of its layers`);
  return shapes;
}

/**
 * The weights that a network needs, in the order of its layers and, in a layer, of the list in network.ts.
 * @throws CodedError NETWORK_INVALID naming the layer.
 */
export function weightSpecs(network: Network): WeightSpec[] {
  const shapes = layerShapes(network);
  return network.layers.flatMap((layer) => {
    const input = shapes.get(layer.inputs[0] ?? INPUT) ?? [];
    return weightsOf(layer, input).map(({ name, shape, trainable }) => {
      if (elementCount(shape) > bounds.elements)
        throw layerInvalid(network.name, layer, `its ${name} [${shape.join(", ")}] has too many values`);
      return { name: `${layer.name}/${name}`, shape, trainable };
    });
  });
}

/** Values of all weights; `trainable` leaves out the moving statistics of batch norm. */
export function parameterCount(network: Network): { readonly total: number; readonly trainable: number } {
  let total = 0;
  let trainable = 0;
  for (const spec of weightSpecs(network)) {
    total += elementCount(spec.shape);
    if (spec.trainable) trainable += elementCount(spec.shape);
  }
  return { total, trainable };
}

/** Multiply-adds of convolutions and dense layers for one image, as papers count them (batch norm, activations and pooling left out). */
export function multiplyAddsPerImage(network: Network): number {
  const shapes = layerShapes(network);
  let count = 0;
  for (const layer of network.layers) {
    const input = shapes.get(layer.inputs[0] ?? INPUT) ?? [];
    const channelsIn = input[input.length - 1] ?? 0;
    const outputs = elementCount(shapes.get(layer.name) ?? []);
    if (layer.kind === "conv2d") count += outputs * layer.kernel[0] * layer.kernel[1] * channelsIn;
    if (layer.kind === "depthwiseConv2d") count += outputs * layer.kernel[0] * layer.kernel[1];
    if (layer.kind === "dense") count += outputs * channelsIn;
  }
  return count;
}

/** Values of all activations for one row, the input's included: what a backward pass has to keep. */
export function activationElements(network: Network): number {
  return [...layerShapes(network).values()].reduce((sum, shape) => sum + elementCount(shape), 0);
}

function weightsOf(layer: LayerKind, input: Shape): WeightSpec[] {
  const channels = input[input.length - 1] ?? 0;
  const specs: WeightSpec[] = [];
  const add = (name: string, shape: Shape, trainable = true): void => void specs.push({ name, shape, trainable });
  switch (layer.kind) {
    case "conv2d":
      add("kernel", [...layer.kernel, channels, layer.filters]);
      if (layer.bias) add("bias", [layer.filters]);
      break;
    case "depthwiseConv2d":
      add("depthwise_kernel", [...layer.kernel, channels, 1]);
      if (layer.bias) add("bias", [channels]);
      break;
    case "dense":
      add("kernel", [channels, layer.units]);
      if (layer.bias) add("bias", [layer.units]);
      break;
    case "batchNorm":
      if (layer.scale) add("gamma", [channels]);
      if (layer.center) add("beta", [channels]);
      add("moving_mean", [channels], false);
      add("moving_variance", [channels], false);
      break;
  }
  return specs;
}

/**
 * The shape of one layer's activation, given those of its inputs.
 * @throws CodedError NETWORK_INVALID naming the layer.
 */
export function outputShape(networkName: string, layer: Layer, inputs: readonly Shape[]): Shape {
  const check = (holds: boolean, problem: string): void => {
    if (!holds) throw layerInvalid(networkName, layer, problem);
  };
  const merges = layer.kind === "add" || layer.kind === "concat";
  check(
    merges ? inputs.length >= 2 : inputs.length === 1,
    `it takes ${merges ? "two or more inputs" : "one input"}, found ${inputs.length}`,
  );
  const input = inputs[0] ?? [];
  const image = (): readonly [number, number, number] => {
    check(input.length === 3, `it takes [height, width, channels], found [${input.join(", ")}]`);
    return input as unknown as [number, number, number];
  };
  const window = (size: Pair, strides: Pair, padding: Padding): readonly [number, number, number] => {
    const [height, width, channels] = image();
    check(
      isPair(size) && isPair(strides),
      `window and strides must be two whole numbers of at least 1, found [${size.join(", ")}] and [${strides.join(", ")}]`,
    );
    check(isPadding(padding), `padding must be four whole numbers of at least 0, found ${JSON.stringify(padding)}`);
    check(
      Math.max(padding.top, padding.bottom) < size[0] && Math.max(padding.left, padding.right) < size[1],
      `padding must be smaller than the window [${size.join(", ")}], found ${JSON.stringify(padding)}`,
    );
    const rows = Math.floor((height + padding.top + padding.bottom - size[0]) / strides[0]) + 1;
    const columns = Math.floor((width + padding.left + padding.right - size[1]) / strides[1]) + 1;
    check(
      rows >= 1 && columns >= 1,
      `its window [${size.join(", ")}] is larger than its padded input [${input.join(", ")}]; give the network larger pictures`,
    );
    return [rows, columns, channels];
  };

  switch (layer.kind) {
    case "conv2d": {
      check(isLength(layer.filters), `filters must be a whole number of at least 1, found ${layer.filters}`);
      const [rows, columns] = window(layer.kernel, layer.strides, layer.padding);
      return [rows, columns, layer.filters];
    }
    case "depthwiseConv2d":
      return window(layer.kernel, layer.strides, layer.padding);
    case "maxPool":
    case "averagePool":
      return window(layer.size, layer.strides, layer.padding);
    case "globalAveragePool":
      return [image()[2]];
    case "zeroPad": {
      const [height, width, channels] = image();
      const { top, bottom, left, right } = layer.padding;
      check(isPadding(layer.padding), `padding must be four whole numbers of at least 0, found ${JSON.stringify(layer.padding)}`);
      return [height + top + bottom, width + left + right, channels];
    }
    case "flatten":
      return [elementCount(input)];
    case "dense":
      check(input.length === 1, `it takes a vector, found [${input.join(", ")}]; put a pooling or flatten layer before it`);
      check(isLength(layer.units), `units must be a whole number of at least 1, found ${layer.units}`);
      return [layer.units];
    case "batchNorm":
      check(layer.epsilon > 0 && layer.epsilon < 1, `epsilon must be between 0 and 1, found ${layer.epsilon}`);
      return input;
    case "dropout":
      check(layer.rate >= 0 && layer.rate < 1, `the rate must be at least 0 and less than 1, found ${layer.rate}`);
      return input;
    case "relu":
    case "relu6":
    case "sigmoid":
    case "softmax":
      return input;
    case "add":
      for (const other of inputs)
        check(sameShape(other, input), `its inputs must have one shape, found [${input.join(", ")}] and [${other.join(", ")}]`);
      return input;
    case "concat": {
      for (const other of inputs) {
        const agree = sameShape(other.slice(0, -1), input.slice(0, -1));
        check(agree, `its inputs may differ in channels only, found [${input.join(", ")}] and [${other.join(", ")}]`);
      }
      return [...input.slice(0, -1), inputs.reduce((sum, shape) => sum + (shape[shape.length - 1] ?? 0), 0)];
    }
    default:
      throw layerInvalid(networkName, layer, `its kind ${JSON.stringify((layer as { kind: unknown }).kind)} is not known`);
  }
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

function isLength(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= bounds.length;
}

function isShape(shape: Shape): boolean {
  // A flattened activation may be longer than one side of a picture may be.
  const sidesFit = shape.length === 1 ? Number.isInteger(shape[0]) && (shape[0] ?? 0) >= 1 : shape.every(isLength);
  return shape.length >= 1 && sidesFit && elementCount(shape) <= bounds.elements;
}

function isPair(pair: Pair): boolean {
  return pair.length === 2 && pair.every(isLength);
}

function isPadding(padding: Padding): boolean {
  return [padding.top, padding.bottom, padding.left, padding.right].every((n) => Number.isInteger(n) && n >= 0 && n <= bounds.length);
}

function layerInvalid(networkName: string, layer: Layer, problem: string): CodedError {
  return new CodedError("NETWORK_INVALID", `network ${networkName}, layer "${layer.name}" (${layer.kind}): ${problem}`, {
    layer: layer.name,
  });
}

function invalid(network: Network, problem: string): CodedError {
  return new CodedError("NETWORK_INVALID", `network ${network.name}: ${problem}`);
}
