import { CodedError } from "../../domain/errors.js";
import type { Backbone } from "../../domain/network/backbone.js";
import type { Network, Tensor } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { asObject, asString, isObject, parseJson } from "../json/json.js";
import { isOnnx } from "../inspect/onnx.js";
import { decodeKerasH5, isHdf5 } from "../keras-h5/decode.js";
import type { KerasModel } from "../keras-model/keras-graph.js";
import { decodeOnnx } from "../onnx/decode-network.js";
import { decodeSafetensors } from "../safetensors/safetensors.js";
import { decodeLayersModel, layersModelPaths } from "../tfjs/decode.js";
import { backboneObjects, decodeBackbone, labelsObject } from "./backbone.js";
import { preprocessingOfJson } from "./topology.js";

/** What the given files say, whatever their format. */
export interface WeightFiles {
  readonly format: string;
  /** The file that decided. */
  readonly mainFile: string;
  /** All files of which something was read. */
  readonly filesRead: readonly string[];
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Where the file has a topology of its own. */
  readonly network?: Network | undefined;
  readonly preprocessing?: Preprocessing | undefined;
  readonly licence?: string | undefined;
  /** Of the network's classifier, in the order of its outputs. */
  readonly labels?: readonly string[] | undefined;
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
 * Whether a file that begins with `head` (16 bytes or more) can be weights, or say something about weights: JSON, HDF5, safetensors or ONNX. The weight
 * shards of a LayersModel have no kind of their own; `companionFiles` names them.
 */
export function canBeWeights(head: Uint8Array): boolean {
  return beginsWithBrace(head, 0) || isHdf5(head) || isSafetensors(head) || isOnnx(head);
}

/**
 * Finds by content what the files are. A LayersModel goes before Keras .h5 files, these before an ONNX model, and that before safetensors. Of .h5 files
 * with weights only and of safetensors there may be several, whose tensors make one network together.
 * @param size Height and width where a model leaves them open.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID, WEIGHTS_INVALID.
 */
export async function decodeWeightFiles(files: ReadonlyMap<string, Uint8Array>, size: number | undefined): Promise<WeightFiles> {
  const stored = storedBackbone(files);
  if (stored) return stored;

  const ofKind = (is: (bytes: Uint8Array) => boolean): [string, Uint8Array][] =>
    [...files].filter(([, bytes]) => is(bytes)).sort(([a], [b]) => (a < b ? -1 : 1));
  const [layersModel] = onlyOne(ofKind(isLayersModel), "LayersModels");
  if (layersModel) return decodeModelJson(layersModel[0], layersModel[1], files, size);

  const hdf5 = ofKind(isHdf5);
  if (hdf5.length > 0) return decodeH5Files(hdf5, size);

  const [onnx] = onlyOne(
    ofKind((bytes) => isOnnx(bytes) && !isSafetensors(bytes)),
    "ONNX models",
  );
  if (onnx) {
    const [mainFile, bytes] = onnx;
    const { network, tensors, preprocessing, unitRange } = decodeOnnx(bytes, size);
    const format = unitRange ? "ONNX, its pictures taken for values from 0 to 1" : "ONNX";
    return { format, mainFile, filesRead: [mainFile], tensors, network, preprocessing };
  }

  const safetensors = ofKind(isSafetensors);
  const [first] = safetensors;
  if (!first) throw noWeights(files);
  const decoded = safetensors.map(([name, bytes]) => ({ name, ...decodeSafetensors(bytes) }));
  return {
    format: "safetensors",
    mainFile: first[0],
    filesRead: safetensors.map(([name]) => name),
    tensors: joined(decoded),
    licence: decoded.map(({ metadata }) => metadata.get("licence") ?? metadata.get("license")).find((licence) => licence !== undefined),
  };
}

async function decodeH5Files(hdf5: readonly [string, Uint8Array][], size: number | undefined): Promise<WeightFiles> {
  const decoded: ({ readonly name: string } & Awaited<ReturnType<typeof decodeKerasH5>>)[] = [];
  for (const [name, bytes] of hdf5) decoded.push({ name, ...(await decodeKerasH5(bytes, size)) });
  const whole = decoded.find(({ model }) => model !== undefined);
  if (whole) onlyOne(hdf5, ".h5 files, one of them a whole model,");
  const model = whole?.model;
  return {
    format: "Keras .h5",
    mainFile: decoded[0]?.name ?? "",
    filesRead: decoded.map(({ name }) => name),
    tensors: joined(decoded),
    network: model?.network,
    preprocessing: model && preprocessingOfModel(model),
  };
}

/** The tensors of all files. @throws CodedError FILE_FORMAT_INVALID where one is in two of them. */
function joined(files: readonly { readonly name: string; readonly tensors: ReadonlyMap<string, Tensor> }[]): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  const owners = new Map<string, string>();
  for (const file of files) {
    for (const [name, tensor] of file.tensors) {
      const other = owners.get(name);
      if (other !== undefined)
        throw new CodedError("FILE_FORMAT_INVALID", `tensor "${name}" is in ${other} and in ${file.name}; give one of these files`);
      owners.set(name, file.name);
      tensors.set(name, tensor);
    }
  }
  return tensors;
}

function noWeights(files: ReadonlyMap<string, Uint8Array>): CodedError {
  const archive = [...files].find(([, [first, second]]) => first === 0x50 && second === 0x4b);
  const advice = archive
    ? `; ${archive[0]} is an archive such as PyTorch and Keras 3 write: save a PyTorch state as safetensors, a Keras model as .h5`
    : "";
  return new CodedError(
    "FILE_FORMAT_INVALID",
    `no TensorFlow.js LayersModel, Keras .h5, ONNX or safetensors file among the files given: ${[...files.keys()].slice(0, 10).join(", ")}${advice}`,
  );
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
  const labels = isObject(metadata) && Array.isArray(metadata["labels"]) ? metadata["labels"] : [];
  return {
    format: "TensorFlow.js LayersModel",
    mainFile: fileName,
    filesRead: [fileName, ...layersModelPaths(bytes).map((path) => `${folder}${path}`)],
    tensors,
    network: model.network,
    preprocessing: preprocessingOfModel(model, before),
    ...(labels.length > 0 && { labels: labels.map((label) => asString(label, `${fileName}: labels`)) }),
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
  const labels = files.get(labelsObject);
  const { backbone } = decodeBackbone({
    "weights.safetensors": weights,
    "preprocessing.json": preprocessing,
    "origin.json": origin,
    "topology.json": topology,
    ...(labels && { [labelsObject]: labels }),
  });
  const filesRead = [...backboneObjects, labelsObject];
  return { format: "graft backbone", mainFile: "topology.json", filesRead, tensors: backbone.weights, backbone };
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
