import { CodedError } from "../../domain/errors.js";
import { INPUT, type Layer, type Network, type Padding, type Shape, type Weights } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { layerShapes, sameShape, weightSpecs } from "../../domain/network/shapes.js";
import { GraphBuilder, type Attribute, type Dimension } from "./graph-builder.js";

export interface EncodeOptions {
  /** With it the input is uint8 pixels `[batch, size, size, 3]` in RGB order; cast, channel order and normalisation become part of the graph. */
  readonly preprocessing?: Preprocessing;
  /** Rows of one call, or a name such as "N" for any number. */
  readonly batch: Dimension;
  /** Default: `images` with preprocessing, else `input`. */
  readonly inputName?: string;
  readonly outputName: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * A network as a standard ONNX model: operators of the default domain only, weights as constants. Input and output are NHWC (`[batch, ...shape]`), inside activations
 * with height and width are NCHW, turned once at each border. Dropout does nothing.
 * @throws CodedError WEIGHTS_INVALID naming a missing or misshaped tensor; NETWORK_INVALID.
 */
export function encodeOnnx(network: Network, weights: Weights, options: EncodeOptions): Uint8Array {
  const shapes = layerShapes(network);
  checkWeights(network, weights);
  const graph = new GraphBuilder();

  const values = new Map<string, string>([[INPUT, encodeInput(graph, network, options)]]);
  for (const layer of network.layers) {
    const inputs = layer.inputs.map((name) => known(values, name));
    const inputShape = known(shapes, layer.inputs[0] ?? INPUT);
    values.set(layer.name, encodeLayer(graph, layer, inputs, inputShape, weights));
  }

  const output = known(values, network.output);
  const shape = known(shapes, network.output);
  if (shape.length === 3) graph.node("Transpose", [output], { perm: { ints: [0, 2, 3, 1] } }, options.outputName);
  else graph.node("Identity", [output], {}, options.outputName);
  graph.output(options.outputName, "float32", [options.batch, ...shape]);
  return graph.encode(network.name, options.metadata);
}

function encodeInput(graph: GraphBuilder, network: Network, { preprocessing, batch, inputName }: EncodeOptions): string {
  const toChannelsFirst = { perm: { ints: [0, 3, 1, 2] } };
  if (preprocessing === undefined) {
    const input = graph.input(inputName ?? "input", "float32", [batch, ...network.inputShape]);
    return network.inputShape.length === 3 ? graph.node("Transpose", [input], toChannelsFirst) : input;
  }
  const { size, channels, mean, deviation } = preprocessing;
  if (!sameShape(network.inputShape, [size, size, 3])) {
    const found = network.inputShape.join(", ");
    throw new CodedError(
      "NETWORK_INVALID",
      `network ${network.name}: preprocessing gives [${size}, ${size}, 3], but the network takes [${found}]; build it for that size`,
    );
  }
  const input = graph.input(inputName ?? "images", "uint8", [batch, size, size, 3]);
  // Bytes are turned before the cast: a quarter of the memory to move.
  let value = graph.node("Transpose", [input], toChannelsFirst);
  if (channels === "BGR") value = graph.node("Gather", [value, graph.integers([2, 1, 0])], { axis: { int: 1 } });
  value = graph.node("Cast", [value], { to: { int: 1 } });
  if (mean.some((m) => m !== 0)) value = graph.node("Sub", [value, perChannel(graph, "preprocessing/mean", mean)]);
  if (deviation.some((d) => d !== 1)) value = graph.node("Div", [value, perChannel(graph, "preprocessing/deviation", deviation)]);
  return value;
}

function perChannel(graph: GraphBuilder, name: string, values: readonly [number, number, number]): string {
  const [first, ...others] = values;
  return others.every((value) => value === first) ? graph.scalar(first) : graph.floats(name, [3, 1, 1], Float32Array.from(values));
}

function encodeLayer(graph: GraphBuilder, layer: Layer, inputs: readonly string[], inputShape: Shape, weights: Weights): string {
  const input = inputs[0] ?? INPUT;
  const tensor = (name: string): Float32Array => known(weights, `${layer.name}/${name}`).data;
  const constant = (name: string, shape: Shape, data = tensor(name)): string => graph.floats(`${layer.name}/${name}`, shape, data);
  const channels = inputShape[inputShape.length - 1] ?? 0;
  const isImage = inputShape.length === 3;

  switch (layer.kind) {
    case "conv2d": {
      const [height, width] = layer.kernel;
      const kernel = constant(
        "kernel",
        [layer.filters, channels, height, width],
        channelsFirst(tensor("kernel"), height * width, channels, layer.filters),
      );
      const operands = [input, kernel, ...(layer.bias ? [constant("bias", [layer.filters])] : [])];
      return graph.node("Conv", operands, { ...window(layer.kernel, layer.strides, layer.padding), group: { int: 1 } });
    }
    case "depthwiseConv2d": {
      const [height, width] = layer.kernel;
      const kernel = constant(
        "depthwise_kernel",
        [channels, 1, height, width],
        channelsFirst(tensor("depthwise_kernel"), height * width, 1, channels),
      );
      const operands = [input, kernel, ...(layer.bias ? [constant("bias", [channels])] : [])];
      return graph.node("Conv", operands, { ...window(layer.kernel, layer.strides, layer.padding), group: { int: channels } });
    }
    case "batchNorm": {
      const gamma = constant("gamma", [channels], layer.scale ? tensor("gamma") : new Float32Array(channels).fill(1));
      const beta = constant("beta", [channels], layer.center ? tensor("beta") : new Float32Array(channels));
      const statistics = [constant("moving_mean", [channels]), constant("moving_variance", [channels])];
      return graph.node("BatchNormalization", [input, gamma, beta, ...statistics], { epsilon: { float: layer.epsilon } });
    }
    case "relu":
      return graph.node("Relu", [input]);
    case "relu6":
      return graph.node("Clip", [input, graph.scalar(0), graph.scalar(6)]);
    case "sigmoid":
      return graph.node("Sigmoid", [input]);
    case "softmax":
      return graph.node("Softmax", [input], { axis: { int: 1 } });
    case "add":
      return inputs.slice(1).reduce((sum, other) => graph.node("Add", [sum, other]), input);
    case "concat":
      return graph.node("Concat", inputs, { axis: { int: 1 } });
    case "maxPool":
      return graph.node("MaxPool", [input], window(layer.size, layer.strides, layer.padding));
    case "averagePool":
      return graph.node("AveragePool", [input], { ...window(layer.size, layer.strides, layer.padding), count_include_pad: { int: 0 } });
    case "globalAveragePool":
      return graph.node("Flatten", [graph.node("GlobalAveragePool", [input])], { axis: { int: 1 } });
    case "zeroPad": {
      const { top, bottom, left, right } = layer.padding;
      return graph.node("Pad", [input, graph.integers([0, 0, top, left, 0, 0, bottom, right]), graph.scalar(0)], {
        mode: { string: "constant" },
      });
    }
    case "flatten": {
      const rows = isImage ? graph.node("Transpose", [input], { perm: { ints: [0, 2, 3, 1] } }) : input;
      return graph.node("Flatten", [rows], { axis: { int: 1 } });
    }
    case "dense": {
      const bias = layer.bias ? [constant("bias", [layer.units])] : [];
      return graph.node("Gemm", [input, constant("kernel", [channels, layer.units]), ...bias]);
    }
    case "dropout":
      return input;
  }
}

function window(size: readonly [number, number], strides: readonly [number, number], padding: Padding): Record<string, Attribute> {
  const { top, bottom, left, right } = padding;
  return { kernel_shape: { ints: size }, strides: { ints: strides }, pads: { ints: [top, left, bottom, right] } };
}

/** A kernel `[taps, channelsIn, channelsOut]` as `[channelsOut, channelsIn, taps]`. */
function channelsFirst(kernel: Float32Array, taps: number, channelsIn: number, channelsOut: number): Float32Array {
  const turned = new Float32Array(kernel.length);
  let from = 0;
  for (let tap = 0; tap < taps; tap++) {
    for (let input = 0; input < channelsIn; input++) {
      for (let output = 0; output < channelsOut; output++) turned[(output * channelsIn + input) * taps + tap] = kernel[from++] ?? 0;
    }
  }
  return turned;
}

function checkWeights(network: Network, weights: Weights): void {
  for (const { name, shape } of weightSpecs(network)) {
    const tensor = weights.get(name);
    if (tensor === undefined || !sameShape(tensor.shape, shape)) {
      const found = tensor === undefined ? "none" : `[${tensor.shape.join(", ")}]`;
      throw new CodedError(
        "WEIGHTS_INVALID",
        `network ${network.name}: tensor ${name} must have the shape [${shape.join(", ")}], found ${found}`,
        { tensor: name },
      );
    }
  }
}

function known<T>(values: ReadonlyMap<string, T>, name: string): T {
  const value = values.get(name);
  if (value === undefined)
    throw new CodedError("NETWORK_INVALID", `"${name}" is used before it is made; list layers in the order of their use`);
  return value;
}
