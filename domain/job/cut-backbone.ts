import type { Backbone } from "../network/backbone.js";
import { cutAt, type CutNetwork } from "../network/cut.js";
import { type Preprocessing, settledPreprocessing } from "../network/preprocessing.js";
import { resizeNetwork } from "../network/resize.js";
import type { ResolvedJob } from "./job.js";

export interface CutBackbone extends CutNetwork {
  /** The backbone's, with the job's overrides. */
  readonly preprocessing: Preprocessing;
  /** Name of the layer whose output is the feature. */
  readonly cut: string;
}

/** The backbone at the job's input size, divided at the job's cut; by default at its last layer. @throws CodedError SPEC_INVALID, CUT_ILLEGAL, NETWORK_INVALID */
export function cutBackbone(job: Pick<ResolvedJob, "preprocessing" | "cut">, { network, preprocessing: own }: Backbone): CutBackbone {
  const preprocessing = settledPreprocessing(own, job.preprocessing);
  const sized = preprocessing.size === own.size ? network : resizeNetwork(network, preprocessing.size);
  const cut = job.cut ?? sized.output;
  return { ...cutAt(sized, cut), preprocessing, cut };
}
