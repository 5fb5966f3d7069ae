import { editDistance } from "../edit-distance.js";
import { CodedError } from "../errors.js";
import { INPUT, type Layer, type Network } from "./network.js";
import { layerShapes } from "./shapes.js";

export interface CutNetwork {
  /** From the picture to the cut: frozen. Ends in the cut layer. */
  readonly prefix: Network;
  /** From the cut to the network's output: trained. Undefined where the cut is the output. */
  readonly tail: Network | undefined;
}

/**
 * Divides a network at the output of a layer, or before its first layer with `INPUT` (the prefix then has no layers and hands on what it gets).
 * Layers that lead to neither the cut nor the output are left out.
 * @throws CodedError CUT_ILLEGAL for an unknown layer and where another edge crosses the cut, naming the nearest legal cuts.
 */
export function cutAt(network: Network, layerName: string): CutNetwork {
  const shapes = layerShapes(network);
  if (layerName !== INPUT) checkCut(network, layerName);

  const below = ancestors(network, layerName);
  const needed = ancestors(network, network.output);
  const prefix = { ...network, layers: network.layers.filter((layer) => below.has(layer.name)), output: layerName };
  if (layerName === network.output) return { prefix, tail: undefined };

  const tailLayers = network.layers
    .filter((layer) => needed.has(layer.name) && !below.has(layer.name))
    .map((layer): Layer => ({ ...layer, inputs: layer.inputs.map((input) => (input === layerName ? INPUT : input)) }));
  const inputShape = shapes.get(layerName) ?? network.inputShape;
  return { prefix, tail: { name: network.name, inputShape, layers: tailLayers, output: network.output } };
}

/** Names of the layers through which everything must pass on its way to the output, in network order; the output is the last. */
export function legalCuts(network: Network): string[] {
  // A layer is such a gate if, right after it, no other earlier activation is still needed. Only layers that lead to the output count.
  const needed = ancestors(network, network.output);
  const layers = network.layers.filter((layer) => needed.has(layer.name));
  const lastUse = new Map<string, number>();
  layers.forEach((layer, position) => layer.inputs.forEach((input) => lastUse.set(input, position)));

  const gates: string[] = [];
  let openUntil = lastUse.get(INPUT) ?? -1;
  layers.forEach((layer, position) => {
    if (openUntil <= position) gates.push(layer.name);
    openUntil = Math.max(openUntil, lastUse.get(layer.name) ?? position);
  });
  return gates;
}

function checkCut(network: Network, layerName: string): void {
  const legal = legalCuts(network);
  if (legal.includes(layerName)) return;

  const names = network.layers.map((layer) => layer.name);
  const position = names.indexOf(layerName);
  if (position < 0) {
    const nearest = nearestNames(layerName, legal);
    throw new CodedError("CUT_ILLEGAL", `cut "${layerName}": ${network.name} has no such layer; did you mean ${quoted(nearest)}?`, {
      nearest,
    });
  }
  const before = legal.filter((name) => names.indexOf(name) < position).slice(-1);
  const after = legal.filter((name) => names.indexOf(name) > position).slice(0, 1);
  const nearest = [...before, ...after];
  throw new CodedError(
    "CUT_ILLEGAL",
    `cut "${layerName}": other layers of ${network.name} pass by it, so that its output alone does not divide the network; the nearest legal cuts are ${quoted(nearest)}`,
    { nearest },
  );
}

/** The layer, and all that it depends on. */
function ancestors(network: Network, layerName: string): Set<string> {
  const found = new Set([layerName]);
  for (const layer of [...network.layers].reverse()) {
    if (found.has(layer.name)) layer.inputs.forEach((input) => found.add(input));
  }
  found.delete(INPUT);
  return found;
}

function nearestNames(wanted: string, names: readonly string[]): string[] {
  return names
    .map((name) => ({ name, distance: editDistance(wanted.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name);
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
