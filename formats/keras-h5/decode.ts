import type { Dataset, Entity, Group } from "h5wasm";
import { CodedError } from "../../domain/errors.js";
import { elementCount, type Tensor } from "../../domain/network/network.js";
import { parseJson } from "../json/json.js";
import { readKerasModel, type KerasModel } from "../keras-model/keras-graph.js";

/** What a Keras .h5 file holds. `model` is undefined for a file of weights only. Tensors are named `LAYER/` and the weight's own last name: `conv1/kernel:0`, `conv1/uniform1`. */
export interface KerasH5File {
  readonly model: KerasModel | undefined;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** Bounds of an untrusted file: what it unpacks to is bounded by its declared shapes, before anything is read. */
const bounds = { layers: 10_000, weights: 100_000, elements: 1 << 29, attributeParts: 1_000 } as const;

const signature = Uint8Array.of(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a);
const floatClass = 1;
let filesOpened = 0;

export function isHdf5(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(0, signature.length), signature) === 0;
}

/**
 * Reads a Keras .h5 file, weights only (`save_weights`) or a whole model (`save`), through the HDF5 library compiled to WebAssembly, in memory.
 * @param size Height and width where a whole model leaves them open.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID.
 */
export async function decodeKerasH5(bytes: Uint8Array, size?: number): Promise<KerasH5File> {
  if (!isHdf5(bytes)) throw new CodedError("FILE_FORMAT_INVALID", "the file does not begin as an HDF5 file does; it is no Keras .h5 file");
  // Loaded here, so that no command pays for the library's start that does not need it.
  const { ready, File } = await import("h5wasm");
  const library = await ready;
  library.activate_throwing_error_handler();
  const path = `import-${++filesOpened}.h5`;
  library.FS.writeFile(path, bytes);
  let file: InstanceType<typeof File> | undefined;
  try {
    file = new File(path, "r");
    return readKerasFile(file, size);
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError("FILE_FORMAT_INVALID", `the HDF5 file cannot be read; fetch it again (${firstLine(cause)})`, {}, cause);
  } finally {
    file?.close();
    library.FS.unlink(path);
  }
}

function readKerasFile(file: Group, size: number | undefined): KerasH5File {
  const keys = file.keys();
  if (keys.includes("layers") || keys.includes("_layer_checkpoint_dependencies")) {
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      "this is a .weights.h5 file of Keras 3, which does not name its tensors; save the whole model as .h5 instead",
    );
  }
  const config = Object.hasOwn(file.attrs, "model_config") ? file.attrs["model_config"]?.value : undefined;
  const model = typeof config === "string" ? readKerasModel(parseJson(config, "model_config"), size) : undefined;
  const weights = keys.includes("model_weights") ? groupAt(file, "model_weights") : file;
  return { model, tensors: readTensors(weights, new Set(model?.network.layers.map((layer) => layer.name))) };
}

function readTensors(root: Group, known: ReadonlySet<string>): Map<string, Tensor> {
  const layers = stringsOf(root, "layer_names", bounds.layers);
  const tensors = new Map<string, Tensor>();
  for (const layer of layers) {
    const group = groupAt(root, layer);
    const weightNames = stringsOf(group, "weight_names", bounds.weights);
    // A model inside the model is one group whose weights name their own layers.
    const owners = new Set(weightNames.map((weight) => weight.slice(0, Math.max(0, weight.lastIndexOf("/")))));
    const nested = owners.size > 1 && !owners.has("") && !known.has(layer);
    for (const weight of weightNames) {
      const name = nested ? weight : `${layer}/${ownName(layer, weight)}`;
      if (tensors.has(name)) throw new CodedError("FILE_FORMAT_INVALID", `two weights are named "${name}"`);
      if (tensors.size >= bounds.weights) throw new CodedError("FILE_FORMAT_INVALID", `at most ${bounds.weights} weights are allowed`);
      tensors.set(name, readTensor(group, weight, name));
    }
  }
  return tensors;
}

/** `conv1/kernel:0` and `conv1_W` of layer conv1 are `kernel:0` and `W`. */
function ownName(layer: string, weight: string): string {
  const last = weight.slice(weight.lastIndexOf("/") + 1);
  const layerLast = layer.slice(layer.lastIndexOf("/") + 1);
  return last.startsWith(`${layerLast}_`) ? last.slice(layerLast.length + 1) : last;
}

function readTensor(group: Group, path: string, name: string): Tensor {
  const dataset = group.get(path);
  if (!isDataset(dataset)) throw new CodedError("FILE_FORMAT_INVALID", `weight "${name}" is listed but not in the file`);
  const { metadata } = dataset;
  const shape = metadata.shape ?? [];
  if (metadata.type !== floatClass || (metadata.size !== 4 && metadata.size !== 8)) {
    throw new CodedError("FILE_FORMAT_INVALID", `weight "${name}" must hold float32 or float64 values`);
  }
  if (elementCount(shape) > bounds.elements)
    throw new CodedError("FILE_FORMAT_INVALID", `weight "${name}" [${shape.join(", ")}] has too many values`);
  const value: unknown = dataset.value;
  const data = typeof value === "number" ? [value] : value instanceof Float32Array || value instanceof Float64Array ? value : undefined;
  if (data?.length !== elementCount(shape))
    throw new CodedError("FILE_FORMAT_INVALID", `weight "${name}" must hold ${elementCount(shape)} values`);
  return { shape, data: Float32Array.from(data) };
}

/** A list of strings in an attribute; Keras cuts one that is longer than 64 kB into `NAME0`, `NAME1`, … */
function stringsOf(group: Group, attribute: string, most: number): string[] {
  const { attrs } = group;
  const parts: string[] = [];
  for (let part = 0; part < bounds.attributeParts; part++)
    if (Object.hasOwn(attrs, `${attribute}${part}`)) parts.push(`${attribute}${part}`);
  const names = Object.hasOwn(attrs, attribute) ? [attribute] : parts;
  if (names.length === 0)
    throw new CodedError("FILE_FORMAT_INVALID", `the HDF5 file has no ${attribute} at ${group.path}; it was not saved by Keras`);
  const strings = names.flatMap((name) => {
    const value: unknown = attrs[name]?.value;
    // An empty list is stored as float64 numbers, none of them.
    if (value instanceof Float64Array && value.length === 0) return [];
    if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value;
    throw new CodedError("FILE_FORMAT_INVALID", `${name} at ${group.path} must be a list of strings`);
  });
  if (strings.length > most)
    throw new CodedError("FILE_FORMAT_INVALID", `at most ${most} ${attribute} are allowed, found ${strings.length}`);
  return strings;
}

function groupAt(root: Group, path: string): Group {
  const entity = root.get(path);
  if (!isGroup(entity)) throw new CodedError("FILE_FORMAT_INVALID", `"${path}" is listed but not in the file`);
  return entity;
}

function isGroup(entity: Entity | null): entity is Group {
  return entity !== null && "type" in entity && (entity.type as string) === "Group";
}

function isDataset(entity: Entity | null): entity is Dataset {
  return entity !== null && "type" in entity && (entity.type as string) === "Dataset";
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split("\n", 1)[0]?.slice(0, 200) ?? "";
}
