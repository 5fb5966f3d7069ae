import { canonicalJson } from "../canonical-json.js";
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
}

/** SHA-256 over topology, weights and preprocessing, 64 hex digits. Names of backbone, network and classes, origin and licence do not count: the same content is the same backbone. */
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
