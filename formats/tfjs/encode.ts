import { CodedError } from "../../domain/errors.js";
import { equalPaddings, noPadding, samePadding } from "../../domain/network/catalog/same-padding.js";
import {
  INPUT,
  type Layer,
  type Network,
  type Padding,
  type Pair,
  type Shape,
  type Tensor,
  type Weights,
} from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { layerShapes, sameShape, weightSpecs } from "../../domain/network/shapes.js";

export interface EncodeTfjsOptions {
  /** With it the model takes RGB pixels from 0 to 255, `[batch, size, size, 3]`, and normalises them itself; without, what the network takes. */
  readonly preprocessing?: Preprocessing;
  /** Class names in the order of the outputs. */
  readonly labels: readonly string[];
  /** Version of graft, for `generatedBy`. */
  readonly version: string;
}

/** TensorFlow.js fetches weights in files of this size, so that browsers cache and load them side by side. */
const shardBytes = 4 * 1024 * 1024;

/** A layer as Keras 2 describes it in a functional model. */
interface KerasLayer {
  readonly class_name: string;
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly inbound_nodes: readonly (readonly [name: string, node: 0, tensor: 0, kwargs: Record<string, never>][])[];
}

/**
 * A network as a TensorFlow.js LayersModel (https://www.tensorflow.org/js/guide/save_load): `model.json` and `group1-shardNofM.bin`, by file name.
 * `tf.loadLayersModel` reads it, and layer and tensor names stay those of the network. Labels and how to make a picture fit stand in `userDefinedMetadata`.
 * Padding that is neither SAME nor VALID becomes a ZeroPadding2D layer before it.
 * @throws CodedError WEIGHTS_INVALID for a missing or misshaped tensor; NETWORK_INVALID for a pooling whose padding Keras cannot express.
 */
export function encodeTfjs(network: Network, weights: Weights, options: EncodeTfjsOptions): Map<string, Uint8Array> {
  const { layers, tensors, input, output } = new Translation(network, weights, options.preprocessing).run();
  const files = shardWeights(tensors);
  const model = {
    format: "layers-model",
    generatedBy: `graft ${options.version}`,
    convertedBy: null,
    modelTopology: {
      class_name: "Model",
      config: { name: network.name, layers, input_layers: [[input, 0, 0]], output_layers: [[output, 0, 0]] },
      keras_version: "2.15.0",
      backend: "tensorflow",
    },
    weightsManifest: [{ paths: [...files.keys()], weights: tensors.map(([name, { shape }]) => ({ name, shape, dtype: "float32" })) }],
    userDefinedMetadata: { labels: options.labels, ...describeInput(options.preprocessing) },
  };
  return new Map([["model.json", new TextEncoder().encode(JSON.stringify(model))], ...files]);
}

/** What a picture needs before it enters the model; the importer (formats/backbone) reads it, so that an exported model can be a backbone again. */
function describeInput(preprocessing: Preprocessing | undefined): Readonly<Record<string, unknown>> {
  if (preprocessing === undefined) return {};
  const { size, resize, resizeTo } = preprocessing;
  return {
    input: "RGB pixels from 0 to 255, resized as preprocessing says; the model normalises them itself",
    preprocessing: { size, resize, resizeTo, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] } satisfies Preprocessing,
  };
}

/** One pass over the network that collects Keras layers and, in their order, the tensors. */
class Translation {
  readonly #network: Network;
  readonly #weights: Weights;
  readonly #preprocessing: Preprocessing | undefined;
  readonly #shapes: ReadonlyMap<string, Shape>;
  readonly #taken: Set<string>;
  readonly #layers: KerasLayer[] = [];
  readonly #tensors: [name: string, tensor: Tensor][] = [];
  /** Layers whose activation is never negative: there zeros may stand for the padding of a maximum. */
  readonly #nonNegative = new Set<string>();

  constructor(network: Network, weights: Weights, preprocessing: Preprocessing | undefined) {
    this.#network = network;
    this.#weights = weights;
    this.#preprocessing = preprocessing;
    this.#shapes = layerShapes(network);
    this.#taken = new Set(network.layers.map(({ name }) => name));
  }

  run(): { layers: readonly KerasLayer[]; tensors: readonly [string, Tensor][]; input: string; output: string } {
    const input = this.#newName(this.#preprocessing === undefined ? INPUT : "images");
    const entry = this.#addInput(input);
    for (const { name, shape } of weightSpecs(this.#network)) this.#tensors.push([name, this.#tensor(name, shape)]);
    for (const layer of this.#network.layers)
      this.#addLayer(
        layer,
        layer.inputs.map((from) => (from === INPUT ? entry : from)),
      );
    return { layers: this.#layers, tensors: this.#tensors, input, output: this.#network.output === INPUT ? entry : this.#network.output };
  }

  #tensor(name: string, shape: Shape): Tensor {
    const tensor = this.#weights.get(name);
    if (tensor === undefined || !sameShape(tensor.shape, shape)) {
      const found = tensor === undefined ? "nothing" : `[${tensor.shape.join(", ")}]`;
      throw new CodedError(
        "WEIGHTS_INVALID",
        `network ${this.#network.name}: tensor "${name}" must have the shape [${shape.join(", ")}], found ${found}`,
      );
    }
    return tensor;
  }

  #newName(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.#taken.has(name); i++) name = `${wanted}_${i}`;
    this.#taken.add(name);
    return name;
  }

  #add(class_name: string, name: string, config: Readonly<Record<string, unknown>>, inputs: readonly string[]): string {
    const nodes = inputs.map((from) => [from, 0, 0, {}] as const);
    this.#layers.push({
      class_name,
      name,
      config: { name, trainable: true, ...config },
      inbound_nodes: inputs.length === 0 ? [] : [nodes as never],
    });
    return name;
  }

  /** Input and normalisation: one scale and offset, or, where channels differ or are turned round, a 1x1 convolution. Returns the name of what the network sees. */
  #addInput(name: string): string {
    const preprocessing = this.#preprocessing;
    this.#add("InputLayer", name, { batch_input_shape: [null, ...this.#network.inputShape], dtype: "float32", sparse: false }, []);
    if (preprocessing === undefined) return name;

    const { size, channels, mean, deviation } = preprocessing;
    if (!sameShape(this.#network.inputShape, [size, size, 3])) {
      throw new CodedError(
        "NETWORK_INVALID",
        `network ${this.#network.name}: preprocessing gives [${size}, ${size}, 3], but the network takes [${this.#network.inputShape.join(", ")}]; build it for that size`,
      );
    }
    const layer = this.#newName("preprocessing");
    if (channels === "RGB" && mean.every((m) => m === mean[0]) && deviation.every((d) => d === deviation[0])) {
      return this.#add("Rescaling", layer, { scale: 1 / deviation[0], offset: -mean[0] / deviation[0] }, [name]);
    }
    const kernel = new Float32Array(9);
    const bias = new Float32Array(3);
    for (const channel of [0, 1, 2] as const) {
      const from = channels === "BGR" ? 2 - channel : channel;
      kernel[from * 3 + channel] = 1 / deviation[channel];
      bias[channel] = -mean[channel] / deviation[channel];
    }
    this.#tensors.push([`${layer}/kernel`, { shape: [1, 1, 3, 3], data: kernel }], [`${layer}/bias`, { shape: [3], data: bias }]);
    return this.#add(
      "Conv2D",
      layer,
      { filters: 3, kernel_size: [1, 1], ...window([1, 1], "valid"), use_bias: true, activation: "linear" },
      [name],
    );
  }

  #addLayer(layer: Layer, inputs: readonly string[]): void {
    const add = (className: string, config: Readonly<Record<string, unknown>>, from = inputs): void =>
      void this.#add(className, layer.name, config, from);
    switch (layer.kind) {
      case "conv2d": {
        const { padding, from } = this.#pad(layer, layer.kernel, inputs);
        add(
          "Conv2D",
          {
            filters: layer.filters,
            kernel_size: layer.kernel,
            ...window(layer.strides, padding),
            use_bias: layer.bias,
            activation: "linear",
          },
          from,
        );
        break;
      }
      case "depthwiseConv2d": {
        const { padding, from } = this.#pad(layer, layer.kernel, inputs);
        add(
          "DepthwiseConv2D",
          { kernel_size: layer.kernel, depth_multiplier: 1, ...window(layer.strides, padding), use_bias: layer.bias, activation: "linear" },
          from,
        );
        break;
      }
      case "maxPool":
      case "averagePool": {
        const { padding, from } = this.#pad(layer, layer.size, inputs);
        add(
          layer.kind === "maxPool" ? "MaxPooling2D" : "AveragePooling2D",
          { pool_size: layer.size, ...window(layer.strides, padding) },
          from,
        );
        break;
      }
      case "batchNorm":
        add("BatchNormalization", { axis: -1, momentum: 0.99, epsilon: layer.epsilon, scale: layer.scale, center: layer.center });
        break;
      case "relu":
        add("ReLU", { max_value: null });
        break;
      case "relu6":
        add("ReLU", { max_value: 6 });
        break;
      case "sigmoid":
      case "softmax":
        add("Activation", { activation: layer.kind });
        break;
      case "add":
        add("Add", {});
        break;
      case "concat":
        add("Concatenate", { axis: -1 });
        break;
      case "globalAveragePool":
        add("GlobalAveragePooling2D", { data_format: "channels_last" });
        break;
      case "zeroPad":
        add("ZeroPadding2D", zeroPadding(layer.padding));
        break;
      case "flatten":
        add("Flatten", { data_format: "channels_last" });
        break;
      case "dense":
        add("Dense", { units: layer.units, use_bias: layer.bias, activation: "linear" });
        break;
      case "dropout":
        add("Dropout", { rate: layer.rate });
        break;
    }
    if (this.#isNonNegative(layer)) this.#nonNegative.add(layer.name);
  }

  #isNonNegative(layer: Layer): boolean {
    if (layer.kind === "relu" || layer.kind === "relu6" || layer.kind === "sigmoid" || layer.kind === "softmax") return true;
    const keepsSign = ["add", "concat", "maxPool", "averagePool", "globalAveragePool", "zeroPad", "flatten", "dropout"].includes(
      layer.kind,
    );
    return keepsSign && layer.inputs.every((input) => this.#nonNegative.has(input));
  }

  /** How Keras says this layer's padding: in a word, or by a layer of its own before it. */
  #pad(
    layer: Layer & { readonly padding: Padding; readonly strides: Pair },
    size: Pair,
    inputs: readonly string[],
  ): { padding: "same" | "valid"; from: readonly string[] } {
    const [height = 0, width = 0] = this.#shapes.get(layer.inputs[0] ?? INPUT) ?? [];
    if (equalPaddings(layer.padding, noPadding)) return { padding: "valid", from: inputs };
    if (equalPaddings(layer.padding, samePadding([height, width], size, layer.strides))) return { padding: "same", from: inputs };
    if (layer.kind === "averagePool" || (layer.kind === "maxPool" && !this.#nonNegative.has(layer.inputs[0] ?? INPUT))) {
      throw new CodedError(
        "NETWORK_INVALID",
        `network ${this.#network.name}, layer "${layer.name}" (${layer.kind}): its padding ${JSON.stringify(layer.padding)} is neither SAME nor VALID, which a TensorFlow.js model cannot say; export as ONNX instead`,
      );
    }
    return { padding: "valid", from: [this.#add("ZeroPadding2D", this.#newName(`${layer.name}_pad`), zeroPadding(layer.padding), inputs)] };
  }
}

function window(strides: Pair, padding: "same" | "valid"): Readonly<Record<string, unknown>> {
  return { strides, padding, data_format: "channels_last" };
}

function zeroPadding({ top, bottom, left, right }: Padding): Readonly<Record<string, unknown>> {
  return {
    padding: [
      [top, bottom],
      [left, right],
    ],
    data_format: "channels_last",
  };
}

/** All tensors one after another, cut into files. */
function shardWeights(tensors: readonly (readonly [string, Tensor])[]): Map<string, Uint8Array> {
  const bytes = new Uint8Array(tensors.reduce((total, [, { data }]) => total + data.byteLength, 0));
  let at = 0;
  for (const [, { data }] of tensors) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  const count = Math.max(1, Math.ceil(bytes.length / shardBytes));
  return new Map(
    Array.from({ length: count }, (_, i) => [`group1-shard${i + 1}of${count}.bin`, bytes.subarray(i * shardBytes, (i + 1) * shardBytes)]),
  );
}
