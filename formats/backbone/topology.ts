import { CodedError } from "../../domain/errors.js";
import type { Layer, LayerKind, Network, Padding, Pair } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { layerShapes } from "../../domain/network/shapes.js";
import { asArray, asBoolean, asCount, asCounts, asNumber, asObject, asString, type JsonObject } from "../json/json.js";

/**
 * Reads a network as `topology.json` holds it. Unknown fields are refused, because the digest would not cover them.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID.
 */
export function networkOfJson(value: unknown): Network {
  const root = exactly(asObject(value, "topology"), "topology", ["name", "inputShape", "layers", "output"]);
  const network: Network = {
    name: asString(root["name"], "topology.name"),
    inputShape: asCounts(root["inputShape"], "topology.inputShape"),
    layers: asArray(root["layers"], "topology.layers").map((layer, index) => layerOfJson(layer, `topology.layers[${index}]`)),
    output: asString(root["output"], "topology.output"),
  };
  layerShapes(network);
  return network;
}

/** @throws CodedError FILE_FORMAT_INVALID. */
export function preprocessingOfJson(value: unknown): Preprocessing {
  const place = "preprocessing";
  const root = exactly(asObject(value, place), place, ["size", "resize", "resizeTo", "channels", "mean", "deviation"]);
  const three = (field: string): readonly [number, number, number] => {
    const [first, second, third, ...more] = asArray(root[field], `${place}.${field}`).map((number) =>
      asNumber(number, `${place}.${field}`),
    );
    if (first === undefined || second === undefined || third === undefined || more.length > 0)
      throw invalid(`${place}.${field} must be three numbers`);
    return [first, second, third];
  };
  const { resize, channels } = root;
  if (resize !== "STRETCH" && resize !== "SHORT_SIDE") throw invalid(`${place}.resize must be STRETCH or SHORT_SIDE`);
  if (channels !== "RGB" && channels !== "BGR") throw invalid(`${place}.channels must be RGB or BGR`);
  const size = asCount(root["size"], `${place}.size`);
  const resizeTo = asCount(root["resizeTo"], `${place}.resizeTo`);
  const mean = three("mean");
  const deviation = three("deviation");
  if (size < 1) throw invalid(`${place}.size must be at least 1 pixel`);
  if (resizeTo < size) throw invalid(`${place}.resizeTo must be at least the size ${size}, found ${resizeTo}`);
  if (!deviation.every((one) => one > 0)) throw invalid(`${place}.deviation must be greater than 0, found [${deviation.join(", ")}]`);
  return { size, resize, resizeTo, channels, mean, deviation };
}

function layerOfJson(value: unknown, place: string): Layer {
  const layer = asObject(value, place);
  const kind = kindOfJson(layer, place);
  exactly(layer, place, [...Object.keys(kind), "name", "inputs"]);
  const name = asString(layer["name"], `${place}.name`);
  return { ...kind, name, inputs: asArray(layer["inputs"], `${place}.inputs`).map((input) => asString(input, `${place}.inputs`)) };
}

function kindOfJson(layer: JsonObject, place: string): LayerKind {
  const kind = asString(layer["kind"], `${place}.kind`);
  const count = (field: string): number => asCount(layer[field], `${place}.${field}`);
  const flag = (field: string): boolean => asBoolean(layer[field], `${place}.${field}`);
  const pair = (field: string): Pair => {
    const [height, width, ...more] = asCounts(layer[field], `${place}.${field}`);
    if (height === undefined || width === undefined || more.length > 0) throw invalid(`${place}.${field} must be two numbers`);
    return [height, width];
  };
  const padding = (): Padding => {
    const sides = exactly(asObject(layer["padding"], `${place}.padding`), `${place}.padding`, ["top", "bottom", "left", "right"]);
    const side = (name: string): number => asCount(sides[name], `${place}.padding.${name}`);
    return { top: side("top"), bottom: side("bottom"), left: side("left"), right: side("right") };
  };
  switch (kind) {
    case "conv2d":
      return { kind, filters: count("filters"), kernel: pair("kernel"), strides: pair("strides"), padding: padding(), bias: flag("bias") };
    case "depthwiseConv2d":
      return { kind, kernel: pair("kernel"), strides: pair("strides"), padding: padding(), bias: flag("bias") };
    case "batchNorm":
      return { kind, epsilon: asNumber(layer["epsilon"], `${place}.epsilon`), scale: flag("scale"), center: flag("center") };
    case "maxPool":
    case "averagePool":
      return { kind, size: pair("size"), strides: pair("strides"), padding: padding() };
    case "zeroPad":
      return { kind, padding: padding() };
    case "dense":
      return { kind, units: count("units"), bias: flag("bias") };
    case "dropout":
      return { kind, rate: asNumber(layer["rate"], `${place}.rate`) };
    case "relu":
    case "relu6":
    case "sigmoid":
    case "softmax":
    case "add":
    case "concat":
    case "globalAveragePool":
    case "flatten":
      return { kind };
    default:
      throw invalid(`${place}.kind ${JSON.stringify(kind.slice(0, 50))} is not known`);
  }
}

function exactly(object: JsonObject, place: string, fields: readonly string[]): JsonObject {
  const unknown = Object.keys(object).filter((field) => !fields.includes(field));
  if (unknown.length > 0) throw invalid(`${place} has the unknown field ${JSON.stringify(unknown[0]?.slice(0, 50))}`);
  return object;
}

function invalid(problem: string): CodedError {
  return new CodedError("FILE_FORMAT_INVALID", problem);
}
