import type { Backbone } from "../network/backbone.js";
import { classifierOf, withoutClassifier } from "../network/classifier.js";
import { cutAt, type CutNetwork } from "../network/cut.js";
import { INPUT, type Network } from "../network/network.js";
import { type Preprocessing, settledPreprocessing } from "../network/preprocessing.js";
import { resizeNetwork } from "../network/resize.js";
import type { ResolvedJob } from "./job.js";

export interface CutBackbone extends CutNetwork {
  /** Prefix and tail in one: the backbone at the job's size, without its own classifier. */
  readonly network: Network;
  /** The backbone's, with the job's overrides. */
  readonly preprocessing: Preprocessing;
  /** Name of the layer whose output is the feature. */
  readonly cut: string;
}

/**
 * The backbone at the job's input size, divided at the job's cut; by default at its last layer. A classifier of its own is left out, for the head takes its
 * place: the network then ends, and by default is cut, at the layer below it.
 * @throws CodedError SPEC_INVALID, CUT_ILLEGAL, NETWORK_INVALID
 */
export function cutBackbone(job: Pick<ResolvedJob, "preprocessing" | "cut">, backbone: Backbone): CutBackbone {
  const preprocessing = settledPreprocessing({ ...backbone.preprocessing, ...job.preprocessing });
  const own = withoutOwnClassifier(backbone.network, job.cut);
  const network = preprocessing.size === backbone.preprocessing.size ? own : resizeNetwork(own, preprocessing.size);
  const cut = job.cut ?? network.output;
  return { ...cutAt(network, cut), network, preprocessing, cut };
}

/** Ends at a cut that lies above the layer below the classifier, in the classifier itself for instance. */
function withoutOwnClassifier(network: Network, cut: string | undefined): Network {
  const classifier = classifierOf(network);
  if (classifier === undefined) return network;
  const below = withoutClassifier(network, classifier.input);
  if (cut === undefined || cut === INPUT || below.layers.some(({ name }) => name === cut)) return below;
  return withoutClassifier(network, cut);
}
