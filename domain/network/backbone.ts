import { canonicalJson } from "../canonical-json.js";
import { CodedError } from "../errors.js";
import { sha256Hex } from "../features/sha256.js";
import { weightsSha256 } from "../training/parameters.js";
import type { Network, Weights } from "./network.js";
import type { Preprocessing } from "./preprocessing.js";

/** A pretrained network with all that is needed to use it. */
export interface Backbone {
  /** As users write it: letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  readonly network: Network;
  readonly weights: Weights;
  readonly preprocessing: Preprocessing;
  /** Where the weights come from and how they were read, for people. */
  readonly origin: string;
  readonly licence: string;
  /** What the outputs of the network's own classifier mean, in their order; two for a single output, which is the second's. Not part of the digest. */
  readonly labels?: readonly string[];
  /** Its weights were drawn and never trained, so that its features mean nothing: a start for training from the input. Not part of the digest. */
  readonly untrained?: true;
}

/** Names of backbones are parts of keys and command lines. */
const namePattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/;

/** @throws CodedError USAGE_INVALID for a name that no backbone can have */
export function checkBackboneName(name: string): void {
  if (namePattern.test(name)) return;
  throw new CodedError(
    "USAGE_INVALID",
    `backbone name ${JSON.stringify(name.slice(0, 100))}: 1 to 100 letters, digits, ".", "_" and "-" are needed`,
  );
}

/** SHA-256 over topology, weights and preprocessing, 64 hex digits. Names of backbone, network and classes, origin, licence and whether it was trained do not count: the same content is the same backbone. */
export function backboneDigest({ network, weights, preprocessing }: Pick<Backbone, "network" | "weights" | "preprocessing">): string {
  const { inputShape, layers, output } = network;
  const content = canonicalJson({
    formatVersion: 1,
    topology: { inputShape, layers, output },
    preprocessing,
    weights: weightsSha256(weights),
  });
  return sha256Hex(content);
}
