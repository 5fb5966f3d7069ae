import { CodedError } from "../../domain/errors.js";
import type { Backbone } from "../../domain/network/backbone.js";
import type { Network, Tensor } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { asObject, isObject, parseJson } from "../json/json.js";
import { isOnnx } from "../inspect/onnx.js";
import { decodeKerasH5, isHdf5 } from "../keras-h5/decode.js";
import type { KerasModel } from "../keras-model/keras-graph.js";
import { decodeOnnx } from "../onnx/decode-network.js";
import { decodeSafetensors } from "../safetensors/safetensors.js";
import { decodeLayersModel, layersModelPaths } from "../tfjs/decode.js";
import { backboneObjects, decodeBackbone } from "./backbone.js";
import { preprocessingOfJson } from "./topology.js";

/** What the given files say, whatever their format. */
export interface WeightFiles {
  readonly format: string;
  /** The file that decided. */
  readonly mainFile: string;
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Where the file has a topology of its own. */
  readonly network?: Network | undefined;
  readonly preprocessing?: Preprocessing | undefined;
  readonly licence?: string | undefined;
  /** Where the files are a whole backbone that graft stored. */
  readonly backbone?: Backbone;
}

/**
 * Names of the files that belong to a given one and must be read with it: the weight shards of a LayersModel. Empty for everything else.
 * @throws CodedError FILE_FORMAT_INVALID.
 */
export function companionFiles(bytes: Uint8Array): string[] {
  return isLayersModel(bytes) ? layersModelPaths(bytes) : [];
}

/**
 * Finds by content what the files are. A LayersModel goes before an .h5 file, that before an ONNX model, and that before safetensors, of which there may be several.
 * @param size Height and width where a model leaves them open.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID, WEIGHTS_INVALID.
 */
export async function decodeWeightFiles(files: ReadonlyMap<string, Uint8Array>, size: number | undefined): Promise<WeightFiles> {
  const stored = storedBackbone(files);
  if (stored) return stored;

  const layersModels = [...files].filter(([, bytes]) => isLayersModel(bytes));
  const hdf5 = [...files].filter(([, bytes]) => isHdf5(bytes));
  const safetensors = [...files].filter(([, bytes]) => isSafetensors(bytes)).sort(([a], [b]) => (a < b ? -1 : 1));
  const [layersModel] = onlyOne(layersModels, "LayersModels");
  if (layersModel) return decodeModelJson(layersModel[0], layersModel[1], files, size);

  const [h5] = onlyOne(hdf5, ".h5 files");
  if (h5) {
    const { model, tensors } = await decodeKerasH5(h5[1], size);
    return { format: "Keras .h5", mainFile: h5[0], tensors, network: model?.network, preprocessing: model && preprocessingOfModel(model) };
  }

  const [onnx] = onlyOne(
    [...files].filter(([, bytes]) => isOnnx(bytes) && !isSafetensors(bytes)),
    "ONNX models",
  );
  if (onnx) {
    const { network, tensors, preprocessing, unitRange } = decodeOnnx(onnx[1], size);
    const format = unitRange ? "ONNX, its pictures taken for values from 0 to 1" : "ONNX";
    return { format, mainFile: onnx[0], tensors, network, preprocessing };
  }

  const [first] = safetensors;
  if (!first) {
    const names = [...files.keys()].slice(0, 10).join(", ");
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `no TensorFlow.js LayersModel, Keras .h5, ONNX or safetensors file among the files given: ${names}`,
    );
  }
  const tensors = new Map<string, Tensor>();
  let licence: string | undefined;
  for (const [fileName, bytes] of safetensors) {
    const { tensors: read, metadata } = decodeSafetensors(bytes);
    licence ??= metadata.get("licence") ?? metadata.get("license");
    for (const [name, tensor] of read) {
      if (tensors.has(name))
        throw new CodedError("FILE_FORMAT_INVALID", `tensor "${name}" is in ${fileName} and in another file; give one of them`);
      tensors.set(name, tensor);
    }
  }
  return { format: "safetensors", mainFile: first[0], tensors, licence };
}

function decodeModelJson(
  fileName: string,
  bytes: Uint8Array,
  files: ReadonlyMap<string, Uint8Array>,
  size: number | undefined,
): WeightFiles {
  // Shards are named relative to model.json, which may itself lie in a folder.
  const folder = fileName.slice(0, fileName.lastIndexOf("/") + 1);
  const shards = new Map([...files].map(([name, shard]) => [name.startsWith(folder) ? name.slice(folder.length) : name, shard]));
  const metadata = asObject(parseJson(bytes, fileName), fileName)["userDefinedMetadata"];
  // graft's exports say what is to be done to a picture before it enters the model.
  const before = isObject(metadata) && metadata["preprocessing"] !== undefined ? preprocessingOfJson(metadata["preprocessing"]) : undefined;
  const { model, tensors } = decodeLayersModel(bytes, shards, size);
  return {
    format: "TensorFlow.js LayersModel",
    mainFile: fileName,
    tensors,
    network: model.network,
    preprocessing: preprocessingOfModel(model, before),
  };
}

/** What a picture needs before the first layer: `before`, by default nothing, and then a `Rescaling` layer at the model's start. */
function preprocessingOfModel({ network, rescaling }: KerasModel, before?: Preprocessing): Preprocessing | undefined {
  if (rescaling === undefined) return before;
  const { scale, offset } = rescaling;
  if (!(scale > 0)) throw new CodedError("FILE_FORMAT_INVALID", `the Rescaling layer must have a scale greater than 0, found ${scale}`);
  const size = network.inputShape[0] ?? 0;
  const pixels: Preprocessing = { size, resize: "STRETCH", resizeTo: size, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] };
  const { mean, deviation, ...rest } = before ?? pixels;
  // ((pixel - mean) / deviation) x scale + offset
  const newMean = (channel: 0 | 1 | 2): number => mean[channel] - (offset / scale) * deviation[channel];
  const newDeviation = (channel: 0 | 1 | 2): number => deviation[channel] / scale;
  return { ...rest, mean: [newMean(0), newMean(1), newMean(2)], deviation: [newDeviation(0), newDeviation(1), newDeviation(2)] };
}

function storedBackbone(files: ReadonlyMap<string, Uint8Array>): WeightFiles | undefined {
  const [weights, preprocessing, origin, topology] = backboneObjects.map((name) => files.get(name));
  if (!weights || !preprocessing || !origin || !topology) return undefined;
  const { backbone } = decodeBackbone({
    "weights.safetensors": weights,
    "preprocessing.json": preprocessing,
    "origin.json": origin,
    "topology.json": topology,
  });
  return { format: "graft backbone", mainFile: "topology.json", tensors: backbone.weights, backbone };
}

function onlyOne<T extends readonly [string, unknown]>(candidates: readonly T[], what: string): readonly T[] {
  if (candidates.length <= 1) return candidates;
  throw new CodedError(
    "FILE_FORMAT_INVALID",
    `${candidates.length} ${what} were given (${candidates.map(([name]) => name).join(", ")}); give one of them`,
  );
}

function isLayersModel(bytes: Uint8Array): boolean {
  if (!beginsWithBrace(bytes, 0)) return false;
  try {
    return isObject(asObject(parseJson(bytes, "file"), "file")["modelTopology"]);
  } catch (error) {
    if (error instanceof CodedError) return false;
    throw error;
  }
}

function isSafetensors(bytes: Uint8Array): boolean {
  return bytes.byteLength > 8 && beginsWithBrace(bytes, 8);
}

function beginsWithBrace(bytes: Uint8Array, offset: number): boolean {
  const openingBrace = 0x7b;
  return bytes[offset] === openingBrace;
}
