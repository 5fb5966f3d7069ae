import { CodedError } from "../../domain/errors.js";
import { weightsSha256 } from "../../domain/training/parameters.js";
import type { Tensor, Weights } from "../../domain/network/network.js";
import { decodeSafetensors, encodeSafetensors } from "../safetensors/safetensors.js";

/** What `weights.safetensors` says about itself besides its tensors. */
export interface TrainedWeightsOrigin {
  readonly backbone: string;
  readonly backboneDigest: string;
  readonly cut: string;
  readonly classes: readonly string[];
}

export interface TrainedWeights extends TrainedWeightsOrigin {
  readonly tensors: Weights;
  readonly weightsSha256: string;
}

/** `weights.safetensors`: the tensors of tail and head as float32; what was frozen stays in the backbone. Equal values give equal bytes. */
export function encodeTrainedWeights(tensors: ReadonlyMap<string, Tensor>, origin: TrainedWeightsOrigin): Uint8Array {
  return encodeSafetensors(
    tensors,
    new Map([
      ["format", "graft-trained-weights"],
      ["formatVersion", "1"],
      ["backbone", origin.backbone],
      ["backboneDigest", origin.backboneDigest],
      ["cut", origin.cut],
      ["classes", JSON.stringify(origin.classes)],
      ["weightsSha256", weightsSha256(tensors)],
    ]),
  );
}

/** Whether a safetensors file says that it is a `weights.safetensors` of graft. @throws CodedError FILE_FORMAT_INVALID for what is no safetensors file */
export function isTrainedWeights(bytes: Uint8Array): boolean {
  return decodeSafetensors(bytes).metadata.get("format") === "graft-trained-weights";
}

/** @throws CodedError FILE_FORMAT_INVALID where it is no such file or the digest of its tensors does not hold. */
export function decodeTrainedWeights(bytes: Uint8Array): TrainedWeights {
  const { tensors, metadata } = decodeSafetensors(bytes);
  const text = (key: string): string => {
    const value = metadata.get(key);
    if (value === undefined)
      throw new CodedError("FILE_FORMAT_INVALID", `trained weights: the metadata lacks ${key}; this is no weights.safetensors of graft`);
    return value;
  };
  if (text("format") !== "graft-trained-weights" || text("formatVersion") !== "1") {
    throw new CodedError("FILE_FORMAT_INVALID", `trained weights: version 1 expected, found ${text("format")} ${text("formatVersion")}`);
  }
  const found = weightsSha256(tensors);
  if (found !== text("weightsSha256")) {
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `trained weights: the metadata says weightsSha256 ${text("weightsSha256")}, the tensors have ${found}; the file is damaged`,
    );
  }
  return {
    tensors,
    weightsSha256: found,
    backbone: text("backbone"),
    backboneDigest: text("backboneDigest"),
    cut: text("cut"),
    classes: classNames(text("classes")),
  };
}

function classNames(json: string): string[] {
  try {
    const value: unknown = JSON.parse(json);
    if (Array.isArray(value) && value.every((name) => typeof name === "string")) return value;
  } catch {
    // Refused below.
  }
  throw new CodedError("FILE_FORMAT_INVALID", "trained weights: the metadata's classes must be a JSON array of names");
}
