import type { CutBackbone } from "../../domain/job/cut-backbone.js";
import { INPUT, type Network, type Shape } from "../../domain/network/network.js";

/** A backbone that ends in features of this shape, all of it frozen: a network that hands on what it gets. */
export function featureCut(shape: Shape): CutBackbone {
  const network: Network = { name: "backbone", inputShape: shape, layers: [], output: INPUT };
  const preprocessing = { size: 8, resize: "STRETCH", resizeTo: 8, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] } as const;
  return { prefix: network, tail: undefined, network, preprocessing, cut: "feature", featureShape: shape, pixels: false };
}
