import type { Backbone } from "../network/backbone.js";
import { classifierOf, withoutClassifier } from "../network/classifier.js";
import { cutAt, type CutNetwork } from "../network/cut.js";
import { INPUT, type Network, type Shape } from "../network/network.js";
import { type Preprocessing, settledPreprocessing } from "../network/preprocessing.js";
import { resizeNetwork } from "../network/resize.js";
import { layerShapes } from "../network/shapes.js";
import type { ResolvedJob } from "./job.js";

export interface CutBackbone extends CutNetwork {
  /** Prefix and tail in one: the backbone at the job's size, up to the last layer that is used. */
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
 * The backbone at the job's input size up to `backbone.lastLayer`, divided at the job's cut; by default at its last layer. Without `lastLayer`, a classifier of its own is left out, for
 * the head takes its place: the network then ends at the layer below it.
 * @throws CodedError SPEC_INVALID, CUT_ILLEGAL, NETWORK_INVALID
 */
export function cutBackbone(
  job: Pick<ResolvedJob, "preprocessing" | "cut"> & { readonly backbone: Pick<ResolvedJob["backbone"], "lastLayer"> },
  { network: whole, preprocessing: own }: Pick<Backbone, "network" | "preprocessing">,
): CutBackbone {
  const preprocessing = settledPreprocessing(own, job.preprocessing);
  const { lastLayer } = job.backbone;
  const used = lastLayer === undefined ? withoutOwnClassifier(whole, job.cut) : withoutClassifier(whole, lastLayer);
  const network = preprocessing.size === own.size ? used : resizeNetwork(used, preprocessing.size);
  const cut = job.cut ?? network.output;
  const { prefix, tail } = cutAt(network, cut);
  const featureShape = layerShapes(prefix).get(prefix.output) ?? network.inputShape;
  return { prefix, tail, network, preprocessing, cut, featureShape, pixels: cut === INPUT };
}

/** Ends at a cut that lies above the layer below the classifier, in the classifier itself for instance. */
function withoutOwnClassifier(network: Network, cut: string | undefined): Network {
  const classifier = classifierOf(network);
  if (classifier === undefined) return network;
  const below = withoutClassifier(network, classifier.input);
  if (cut === undefined || cut === INPUT || below.layers.some(({ name }) => name === cut)) return below;
  return withoutClassifier(network, cut);
}
