import { CodedError } from "../../domain/errors.js";
import { elementCount, type Tensor } from "../../domain/network/network.js";
import { asArray, asCounts, asNumber, asObject, asString, isObject, parseJson, type JsonObject } from "../json/json.js";
import { readKerasModel, type KerasModel } from "../keras-model/keras-graph.js";
import { widenHalves } from "../safetensors/half-float.js";

/** What a LayersModel holds; its tensors have the names of the file (`conv1/kernel`). */
export interface LayersModel {
  readonly model: KerasModel;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

/** Bounds of an untrusted model.json. */
const bounds = { weights: 100_000, shards: 10_000, elements: 1 << 29 } as const;

const bytesOf: Readonly<Record<string, number>> = { float32: 4, float16: 2, uint16: 2, uint8: 1 };

/**
 * Names of the weight files that a model.json needs beside it. Each is a plain file name or a path below, never above.
 * @throws CodedError FILE_FORMAT_INVALID.
 */
export function layersModelPaths(modelJson: Uint8Array): string[] {
  return manifestOf(asObject(parseJson(modelJson, "model.json"), "model.json")).flatMap(({ paths }) => paths);
}

/**
 * Reads a TensorFlow.js LayersModel (https://github.com/tensorflow/tfjs/tree/master/tfjs-layers, `model.json` and its shards), its weights
 * stored as float32 or quantised to uint8, uint16 (value = stored x scale + min) or float16.
 * @param shards The weight files by the names that `layersModelPaths` gives.
 * @param size Height and width where the model leaves them open.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID.
 */
export function decodeLayersModel(modelJson: Uint8Array, shards: ReadonlyMap<string, Uint8Array>, size?: number): LayersModel {
  const root = asObject(parseJson(modelJson, "model.json"), "model.json");
  const topology = asObject(root["modelTopology"], "modelTopology");
  if (topology["node"] !== undefined) {
    throw new CodedError("FILE_FORMAT_INVALID", "model.json is a GraphModel (converted for inference only); a LayersModel is needed");
  }
  const model = readKerasModel(topology["model_config"] ?? topology, size);

  const tensors = new Map<string, Tensor>();
  for (const { paths, weights } of manifestOf(root)) {
    const bytes = Buffer.concat(
      paths.map((path) => {
        const shard = shards.get(path);
        if (shard === undefined)
          throw new CodedError(
            "FILE_FORMAT_INVALID",
            `model.json names the weight file "${path}", which is not there; put it beside model.json`,
          );
        return shard;
      }),
    );
    let offset = 0;
    for (const weight of weights) {
      const { name, tensor, length } = readWeight(weight, bytes, offset);
      if (tensors.has(name)) throw new CodedError("FILE_FORMAT_INVALID", `two weights are named "${name}"`);
      tensors.set(name, tensor);
      offset += length;
    }
    if (offset !== bytes.byteLength) {
      throw new CodedError(
        "FILE_FORMAT_INVALID",
        `weight files ${paths.join(", ")}: the manifest describes ${offset} bytes, found ${bytes.byteLength}; fetch them again`,
      );
    }
  }
  return { model, tensors };
}

function manifestOf(root: JsonObject): { readonly paths: readonly string[]; readonly weights: readonly unknown[] }[] {
  const groups = asArray(root["weightsManifest"], "weightsManifest").map((value, index) => {
    const group = asObject(value, `weightsManifest[${index}]`);
    const paths = asArray(group["paths"], `weightsManifest[${index}].paths`).map((path, position) => {
      const text = asString(path, `weightsManifest[${index}].paths[${position}]`);
      // A path out of an untrusted file must not lead the reader out of the model's folder.
      if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/.test(text)) {
        throw new CodedError(
          "FILE_FORMAT_INVALID",
          `model.json names the weight file ${JSON.stringify(text.slice(0, 100))}; a plain name beside model.json is needed`,
        );
      }
      return text;
    });
    return { paths, weights: asArray(group["weights"], `weightsManifest[${index}].weights`) };
  });
  const shards = groups.reduce((sum, { paths }) => sum + paths.length, 0);
  const weights = groups.reduce((sum, group) => sum + group.weights.length, 0);
  if (shards > bounds.shards || weights > bounds.weights) {
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `at most ${bounds.shards} weight files and ${bounds.weights} weights are allowed, found ${shards} and ${weights}`,
    );
  }
  return groups;
}

function readWeight(value: unknown, bytes: Uint8Array, offset: number): { name: string; tensor: Tensor; length: number } {
  const weight = asObject(value, "weight");
  const name = asString(weight["name"], "weight name");
  const place = `weight "${name}"`;
  const shape = asCounts(weight["shape"], `${place}: shape`);
  const dtype = asString(weight["dtype"], `${place}: dtype`);
  if (dtype !== "float32") throw new CodedError("FILE_FORMAT_INVALID", `${place}: dtype must be float32, found ${dtype.slice(0, 20)}`);
  const quantization = isObject(weight["quantization"]) ? weight["quantization"] : undefined;
  const stored = quantization ? asString(quantization["dtype"], `${place}: quantization.dtype`) : "float32";
  const width = Object.hasOwn(bytesOf, stored) ? bytesOf[stored] : undefined;
  if (width === undefined)
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${place}: values must be stored as ${Object.keys(bytesOf).join(", ")}, found ${stored.slice(0, 20)}`,
    );

  const count = elementCount(shape);
  const length = count * width;
  if (count > bounds.elements || offset + length > bytes.byteLength) {
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${place} [${shape.join(", ")}] needs ${length} bytes at ${offset}, but its files have ${bytes.byteLength}; fetch them again`,
    );
  }
  // A copy, so that the values begin at an address that typed arrays can read.
  const { buffer } = new Uint8Array(bytes.subarray(offset, offset + length));
  return { name, tensor: { shape, data: readValues(stored, buffer, quantization, place) }, length };
}

function readValues(stored: string, buffer: ArrayBuffer, quantization: JsonObject | undefined, place: string): Float32Array {
  if (stored === "float32") return new Float32Array(buffer);
  if (stored === "float16") return widenHalves(new Uint16Array(buffer));
  const scale = asNumber(quantization?.["scale"], `${place}: quantization.scale`);
  const min = asNumber(quantization?.["min"], `${place}: quantization.min`);
  const steps = stored === "uint8" ? new Uint8Array(buffer) : new Uint16Array(buffer);
  // In float64 and rounded once, as TensorFlow.js does.
  const values = new Float32Array(steps.length);
  for (let index = 0; index < steps.length; index++) values[index] = (steps[index] ?? 0) * scale + min;
  return values;
}
