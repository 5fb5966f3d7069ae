import { CodedError } from "../errors.js";
import { cutAt, legalCuts } from "../network/cut.js";
import type { Layer, Network } from "../network/network.js";

/** The kinds of layers that can be trained so far: one row of values in, one row out. */
const trainableKinds = ["dense", "relu", "relu6", "sigmoid", "dropout", "flatten"] as const;

export type TrainableLayer = Extract<Layer, { readonly kind: (typeof trainableKinds)[number] }>;

export function isTrainable(layer: Layer): layer is TrainableLayer {
  return (trainableKinds as readonly string[]).includes(layer.kind);
}

/**
 * Finds out before any work is done whether everything above the cut can be trained.
 * @throws CodedError ENGINE_UNSUPPORTED naming the first layer that cannot, and the earliest cut above which all can.
 */
export function checkTrainable(engine: string, network: Network, cut: string): void {
  const obstacle = firstObstacle(network, cut);
  if (obstacle === undefined) return;
  const earliest = legalCuts(network).find((each) => firstObstacle(network, each) === undefined) ?? network.output;
  throw new CodedError(
    "ENGINE_UNSUPPORTED",
    `cut "${cut}": the layers of ${network.name} above it are trained, and engine ${engine} cannot train layer "${obstacle.name}" (${obstacle.kind}) yet; choose a cut at or after "${earliest}"`,
    { layer: obstacle.name, cut, earliest },
  );
}

function firstObstacle(network: Network, cut: string): Layer | undefined {
  return cutAt(network, cut).tail?.layers.find((layer) => !isTrainable(layer));
}
