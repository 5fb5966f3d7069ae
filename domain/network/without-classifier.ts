import { cutAt } from "./cut.js";
import { INPUT, type Layer, type Network } from "./network.js";

const classifierKinds: ReadonlySet<Layer["kind"]> = new Set(["dense", "dropout", "flatten", "relu", "relu6", "sigmoid", "softmax"]);

/**
 * The network below its classifier: below the dense layers at its end with their activations, dropout and flatten. The network itself where it ends
 * in no dense layer, or has nothing below them.
 */
export function withoutClassifier(network: Network): Network {
  const byName = new Map(network.layers.map((layer) => [layer.name, layer]));
  let base: string | undefined;
  for (let layer = byName.get(network.output); layer && classifierKinds.has(layer.kind); layer = byName.get(layer.inputs[0] ?? INPUT)) {
    const below = layer.inputs[0] ?? INPUT;
    // Dropout and flatten belong to the dense layer above them; an activation may belong to a convolution below.
    const belongsToDense = base === layer.name && (layer.kind === "dropout" || layer.kind === "flatten");
    if (layer.kind === "dense" || belongsToDense) base = below;
  }
  return base === undefined || base === INPUT ? network : cutAt(network, base).prefix;
}
