import { canonicalJson } from "../canonical-json.js";
import type { Shape } from "../network/network.js";
import type { Preprocessing } from "../network/preprocessing.js";
import type { Augmentation } from "./views.js";
import type { NumericsProfile } from "./numerics-profile.js";
import { sha256Hex } from "./sha256.js";

/** SHA-256 of a picture's bytes, 64 lower-case hex digits. */
export type ImageId = string;

/** All that a feature's bits depend on besides the picture. Its digest names the folder of the features. */
export interface FeatureSpec {
  readonly formatVersion: 1;
  /** Null where the picture itself is the feature: pixels depend on no backbone. */
  readonly backboneDigest: string | null;
  readonly cut: string;
  readonly shape: Shape;
  readonly preprocessing: Preprocessing;
  /** How views above 0 differ from the picture as it is; absent in the spec of view 0, so that the features of plain pictures are shared by jobs with and without views. */
  readonly augmentation?: Augmentation;
  /** `VIEWS_REVISION`, beside `augmentation`. */
  readonly viewsRevision?: number;
  readonly dtype: "float32" | "uint8";
  readonly profile: NumericsProfile;
}

/** SHA-256 of the spec's canonical JSON (keys sorted at every level). */
export function featureSpecDigest(spec: FeatureSpec): string {
  return sha256Hex(canonicalJson(spec));
}
