import { assignWeights } from "../../domain/network/assign-weights.js";
import { backboneDigest, type Backbone } from "../../domain/network/backbone.js";
import { plainNames } from "../../domain/network/name-maps.js";
import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { checkLabels } from "../../domain/network/classifier.js";
import { asObject, asString, parseJson } from "../json/json.js";
import { decodeLabels, encodeLabels } from "../passport/labels.js";
import { decodeSafetensors, encodeSafetensors } from "../safetensors/safetensors.js";
import { networkOfJson, preprocessingOfJson } from "./topology.js";

/** The objects of a stored backbone, in the order in which they are written: the last makes it whole. */
export const backboneObjects = ["weights.safetensors", "preprocessing.json", "origin.json", "topology.json"] as const;
export type BackboneObject = (typeof backboneObjects)[number];

/** Labels of the network's classifier, a line each; an object of its own, since they are no part of the digest. */
export const labelsObject = "labels.txt";

export type BackboneFiles = Readonly<Record<BackboneObject, Uint8Array>> & { readonly [labelsObject]?: Uint8Array };

const formatVersion = 1;

/** Equal backbones give equal bytes. */
export function encodeBackbone(backbone: Backbone): BackboneFiles {
  const { name, network, weights, preprocessing, origin, licence, labels, untrained } = backbone;
  const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${canonicalJson(value)}\n`);
  return {
    "weights.safetensors": encodeSafetensors(weights),
    "preprocessing.json": json(preprocessing),
    "origin.json": json({ name, origin, licence, ...(untrained && { untrained }) }),
    "topology.json": json({ formatVersion, network }),
    ...(labels && { [labelsObject]: new TextEncoder().encode(encodeLabels(labels)) }),
  };
}

/**
 * Reads and checks what `encodeBackbone` wrote.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID, WEIGHTS_INVALID, STORE_FORMAT_NEWER.
 */
export function decodeBackbone(objects: BackboneFiles): {
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
  const labelsText = objects[labelsObject];
  const labels = labelsText && decodeLabels(new TextDecoder().decode(labelsText));
  if (labels) checkLabels(network, labels);
  const backbone: Backbone = {
    ...decodeOrigin(objects["origin.json"]),
    network,
    weights: assignWeights(network, decodeSafetensors(objects["weights.safetensors"]).tensors, plainNames),
    preprocessing: preprocessingOfJson(parseJson(objects["preprocessing.json"], "preprocessing.json")),
    ...(labels && { labels }),
  };
  return { backbone, digest: backboneDigest(backbone) };
}

/** What is known of a backbone besides its content: enough for a list. @throws CodedError FILE_FORMAT_INVALID. */
export function decodeOrigin(originJson: Uint8Array): Pick<Backbone, "name" | "origin" | "licence" | "untrained"> {
  const root = asObject(parseJson(originJson, "origin.json"), "origin.json");
  return {
    name: asString(root["name"], "origin.json: name"),
    origin: asString(root["origin"], "origin.json: origin"),
    licence: asString(root["licence"], "origin.json: licence"),
    ...(root["untrained"] === true && { untrained: true }),
  };
}
