import type { Backbone } from "../network/backbone.js";
import { cutAt, type CutNetwork } from "../network/cut.js";
import { INPUT, type Network, type Shape } from "../network/network.js";
import { type Preprocessing, settledPreprocessing } from "../network/preprocessing.js";
import { resizeNetwork } from "../network/resize.js";
import { layerShapes } from "../network/shapes.js";
import type { ResolvedJob } from "./job.js";

export interface CutBackbone extends CutNetwork {
  /** The backbone at the job's input size, up to its last layer that is used. */
  readonly network: Network;
  /** The backbone's, with the job's overrides. */
  readonly preprocessing: Preprocessing;
  /** Name of the layer whose output is the feature; `input` where pictures themselves are. */
  readonly cut: string;
  /** `[height, width, channels]`, `[channels]`, … of a feature. */
  readonly featureShape: Shape;
  /** Features are pixels, uint8: nothing is frozen, and the trained network normalises them itself. */
  readonly pixels: boolean;
}

/**
 * The backbone at the job's input size up to `backbone.lastLayer`, divided at the job's cut; by default at its last layer.
 * @throws CodedError SPEC_INVALID, CUT_ILLEGAL, NETWORK_INVALID
 */
export function cutBackbone(
  { backbone, preprocessing: overrides, cut: wanted }: Pick<ResolvedJob, "backbone" | "preprocessing" | "cut">,
  { network, preprocessing: own }: Pick<Backbone, "network" | "preprocessing">,
): CutBackbone {
  const preprocessing = settledPreprocessing({ ...own, ...overrides });
  const used = backbone.lastLayer === undefined ? network : cutAt(network, backbone.lastLayer).prefix;
  const sized = preprocessing.size === own.size ? used : resizeNetwork(used, preprocessing.size);
  const cut = wanted ?? sized.output;
  const { prefix, tail } = cutAt(sized, cut);
  const featureShape = layerShapes(prefix).get(prefix.output) ?? sized.inputShape;
  return { prefix, tail, network: sized, preprocessing, cut, featureShape, pixels: cut === INPUT };
}
