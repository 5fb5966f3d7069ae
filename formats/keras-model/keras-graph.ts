import { CodedError } from "../../domain/errors.js";
import { INPUT, type Layer, type Network, type Shape } from "../../domain/network/network.js";
import { layerShapes, outputShape } from "../../domain/network/shapes.js";
import { asArray, asCount, asNumber, asObject, asString, isObject, type JsonObject } from "../json/json.js";
import { convertKerasLayer } from "./keras-layers.js";

/** Models inside models, and layers in all; more than any published model has. */
const bounds = { depth: 8, layers: 10_000 } as const;

export interface KerasModel {
  readonly network: Network;
  /** A `Rescaling` layer at the very start: value = pixel x scale + offset. It is no layer of the network but part of how pictures are prepared. */
  readonly rescaling: { readonly scale: number; readonly offset: number } | undefined;
}

/**
 * The network that a Keras model description (`model_config`, `modelTopology`) stands for: Sequential and functional models of Keras 1 to 3, one input,
 * one output, models inside models laid flat. Layers keep their names; the activation of a layer that has one is a layer `NAME_relu` and so on.
 * @param size Height and width where the model leaves them open.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID.
 */
export function readKerasModel(model: unknown, size: number | undefined): KerasModel {
  const graph = new GraphReader(size);
  const output = graph.readModel(asObject(model, "the model"), undefined, 0);
  const config = asObject(model, "the model")["config"];
  const name = isObject(config) && typeof config["name"] === "string" ? config["name"] : "imported";
  const network = { name, inputShape: graph.inputShape, layers: graph.layers, output };
  layerShapes(network);
  return { network, rescaling: graph.rescaling };
}

interface PendingLayer {
  readonly className: string;
  readonly name: string;
  readonly config: JsonObject;
  readonly inputs: readonly string[];
}

class GraphReader {
  readonly layers: Layer[] = [];
  inputShape: Shape = [];
  rescaling: KerasModel["rescaling"];
  readonly #size: number | undefined;
  readonly #shapes = new Map<string, Shape>();

  constructor(size: number | undefined) {
    this.#size = size;
  }

  /** Adds the layers of a model that is fed with the activation `fedBy`, or with the picture. Returns the name of what leaves it. */
  readModel(model: JsonObject, fedBy: string | undefined, depth: number): string {
    if (depth > bounds.depth) throw new CodedError("NETWORK_INVALID", `more than ${bounds.depth} models inside models are not supported`);
    const className = asString(model["class_name"], "class_name");
    const config = model["config"];
    if (className === "Sequential") return this.#readSequential(config, fedBy, depth);
    if (className === "Model" || className === "Functional") return this.#readFunctional(asObject(config, "config"), fedBy, depth);
    throw new CodedError("NETWORK_INVALID", `a model must be Sequential, Model or Functional, found ${className}`);
  }

  #readSequential(config: unknown, fedBy: string | undefined, depth: number): string {
    const list = asArray(Array.isArray(config) ? config : asObject(config, "config")["layers"], "layers");
    let current = fedBy;
    for (const value of list) {
      const { className, name, config: layerConfig } = readLayer(value, []);
      if (className !== "InputLayer" && current === undefined && !isModel(className)) this.#setInput(layerConfig, name);
      if (className === "InputLayer") {
        if (current === undefined) this.#setInput(layerConfig, name);
        current ??= INPUT;
      } else {
        const inputs = isModel(className) && current === undefined ? [] : [current ?? INPUT];
        current = this.#addLayer({ className, name, config: layerConfig, inputs }, asObject(value, "layer"), depth);
      }
    }
    return current ?? INPUT;
  }

  #readFunctional(config: JsonObject, fedBy: string | undefined, depth: number): string {
    const list = asArray(config["layers"], "layers");
    if (list.length > bounds.layers)
      throw new CodedError("NETWORK_INVALID", `at most ${bounds.layers} layers are supported, found ${list.length}`);
    const [inputName, ...otherInputs] = layerReferences(config["input_layers"], "input_layers");
    const [outputName, ...otherOutputs] = layerReferences(config["output_layers"], "output_layers");
    if (inputName === undefined || outputName === undefined || otherInputs.length > 0 || otherOutputs.length > 0) {
      throw new CodedError("NETWORK_INVALID", "a model must have exactly one input and one output");
    }

    // Names of this model's layers, to the names of the activations that leave them.
    const outputs = new Map<string, string>();
    const pending = new Map<string, { readonly layer: PendingLayer; readonly raw: JsonObject }>();
    for (const value of list) {
      const raw = asObject(value, "layer");
      const layer = readLayer(raw, asArray(raw["inbound_nodes"] ?? [], "inbound_nodes"));
      if (layer.className === "InputLayer") {
        if (layer.name !== inputName) throw new CodedError("NETWORK_INVALID", `layer "${layer.name}": a second input is not supported`);
        if (fedBy === undefined) this.#setInput(layer.config, layer.name);
        outputs.set(layer.name, fedBy ?? INPUT);
      } else if (pending.has(layer.name)) {
        throw new CodedError("NETWORK_INVALID", `two layers are named "${layer.name}"; names must be unique`);
      } else {
        pending.set(layer.name, { layer, raw });
      }
    }

    // The list need not be in the order of computation: take what is ready until nothing is left.
    while (pending.size > 0) {
      const before = pending.size;
      for (const [name, { layer, raw }] of pending) {
        const inputs = layer.inputs.map((input) => outputs.get(input));
        if (!inputs.every((input) => input !== undefined)) continue;
        outputs.set(name, this.#addLayer({ ...layer, inputs }, raw, depth));
        pending.delete(name);
      }
      if (pending.size === before) {
        const stuck = [...pending.keys()].slice(0, 3).join('", "');
        throw new CodedError("NETWORK_INVALID", `layers "${stuck}" wait for inputs that do not exist, or for each other`);
      }
    }
    const output = outputs.get(outputName);
    if (output === undefined) throw new CodedError("NETWORK_INVALID", `output layer "${outputName}" does not exist`);
    return output;
  }

  #addLayer(layer: PendingLayer, raw: JsonObject, depth: number): string {
    const { className, name, inputs } = layer;
    if (isModel(className)) return this.readModel(raw, inputs[0], depth + 1);
    if (className === "Rescaling" && inputs[0] === INPUT && this.rescaling === undefined) {
      const number = (field: string): number => asNumber(layer.config[field] ?? 0, `layer "${name}": ${field}`);
      this.rescaling = { scale: number("scale"), offset: number("offset") };
      return INPUT;
    }
    if (this.layers.length >= bounds.layers) throw new CodedError("NETWORK_INVALID", `at most ${bounds.layers} layers are supported`);

    const inputShapes = inputs.map((input) => this.#shapes.get(input) ?? []);
    let current = inputs;
    for (const [index, kind] of convertKerasLayer(className, name, layer.config, inputShapes[0] ?? []).entries()) {
      const converted: Layer = { ...kind, name: index === 0 ? name : `${name}_${kind.kind}`, inputs: current };
      const shape = outputShape(
        "the model",
        converted,
        current.map((input) => this.#shapes.get(input) ?? []),
      );
      this.layers.push(converted);
      this.#shapes.set(converted.name, shape);
      current = [converted.name];
    }
    return current[0] ?? INPUT;
  }

  #setInput(config: JsonObject, name: string): void {
    const place = `layer "${name}": batch_input_shape`;
    const [, ...sides] = asArray(config["batch_input_shape"] ?? config["batch_shape"], place);
    this.inputShape = sides.map((side, axis) => {
      if (side !== null || axis === 2) return asCount(side, `${place}[${axis + 1}]`);
      if (this.#size !== undefined) return this.#size;
      throw new CodedError("NETWORK_INVALID", `${place} leaves the size of the pictures open; give one with --preprocessing size`);
    });
    this.#shapes.set(INPUT, this.inputShape);
  }
}

function isModel(className: string): boolean {
  return className === "Sequential" || className === "Model" || className === "Functional";
}

function readLayer(value: unknown, inboundNodes: readonly unknown[]): PendingLayer {
  const raw = asObject(value, "layer");
  const className = asString(raw["class_name"], "class_name");
  const config = isObject(raw["config"]) ? raw["config"] : {};
  const name = asString(raw["name"] ?? config["name"] ?? className, "layer name");
  if (inboundNodes.length > 1)
    throw new CodedError("NETWORK_INVALID", `layer "${name}" is used ${inboundNodes.length} times; shared layers are not supported`);
  return { className, name, config, inputs: inboundNodes.length === 0 ? [] : nodeInputs(inboundNodes[0], name) };
}

/** Keras 1 and 2: `[["conv1", 0, 0, {}], …]`. Keras 3: `{args: [tensor]}` or `{args: [[tensor, …]]}`, where a tensor says `keras_history: ["conv1", 0, 0]`. */
function nodeInputs(node: unknown, name: string): string[] {
  const place = `layer "${name}": inbound_nodes`;
  if (Array.isArray(node)) return node.map((input) => asString(asArray(input, place)[0], place));
  return asArray(asObject(node, place)["args"], place)
    .flat()
    .map((tensor) => asString(asArray(asObject(asObject(tensor, place)["config"], place)["keras_history"], place)[0], place));
}

/** `[["input_1", 0, 0]]`, or in Keras 3 `["input_1", 0, 0]`. */
function layerReferences(value: unknown, place: string): string[] {
  const list = asArray(value, place);
  return typeof list[0] === "string" ? [list[0]] : list.map((reference) => asString(asArray(reference, place)[0], place));
}
