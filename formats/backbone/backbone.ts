import { assignWeights } from "../../domain/network/assign-weights.js";
import { backboneDigest, type Backbone } from "../../domain/network/backbone.js";
import { plainNames } from "../../domain/network/name-maps.js";
import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { asObject, asString, parseJson } from "../json/json.js";
import { decodeSafetensors, encodeSafetensors } from "../safetensors/safetensors.js";
import { networkOfJson, preprocessingOfJson } from "./topology.js";

/** The objects of a stored backbone, in the order in which they are written: the last makes it whole. */
export const backboneObjects = ["weights.safetensors", "preprocessing.json", "origin.json", "topology.json"] as const;
export type BackboneObject = (typeof backboneObjects)[number];

const formatVersion = 1;

/** Equal backbones give equal bytes. */
export function encodeBackbone(backbone: Backbone): Record<BackboneObject, Uint8Array> {
  const { name, network, weights, preprocessing, origin, licence } = backbone;
  const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${canonicalJson(value)}\n`);
  return {
    "weights.safetensors": encodeSafetensors(weights),
    "preprocessing.json": json(preprocessing),
    "origin.json": json({ name, origin, licence }),
    "topology.json": json({ formatVersion, network }),
  };
}

/**
 * Reads and checks what `encodeBackbone` wrote.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID, WEIGHTS_INVALID, STORE_FORMAT_NEWER.
 */
export function decodeBackbone(objects: Readonly<Record<BackboneObject, Uint8Array>>): {
  readonly backbone: Backbone;
  readonly digest: string;
} {
  const topology = asObject(parseJson(objects["topology.json"], "topology.json"), "topology.json");
  const found = topology["formatVersion"];
  if (typeof found !== "number" || found < formatVersion)
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `topology.json: formatVersion must be ${formatVersion}, found ${JSON.stringify(found) ?? "none"}`,
    );
  if (found > formatVersion) {
    throw new CodedError(
      "STORE_FORMAT_NEWER",
      `topology.json: format version ${formatVersion} is known, found ${found}; use a newer graft`,
    );
  }
  const network = networkOfJson(topology["network"]);
  const backbone: Backbone = {
    ...decodeOrigin(objects["origin.json"]),
    network,
    weights: assignWeights(network, decodeSafetensors(objects["weights.safetensors"]).tensors, plainNames),
    preprocessing: preprocessingOfJson(parseJson(objects["preprocessing.json"], "preprocessing.json")),
  };
  return { backbone, digest: backboneDigest(backbone) };
}

/** Only name, origin and licence: enough for a list. @throws CodedError FILE_FORMAT_INVALID. */
export function decodeOrigin(originJson: Uint8Array): Pick<Backbone, "name" | "origin" | "licence"> {
  const root = asObject(parseJson(originJson, "origin.json"), "origin.json");
  return {
    name: asString(root["name"], "origin.json: name"),
    origin: asString(root["origin"], "origin.json: origin"),
    licence: asString(root["licence"], "origin.json: licence"),
  };
}
