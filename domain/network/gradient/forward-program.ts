import { strict as assert } from "node:assert";
import { INPUT, type Layer, type Network } from "../network.js";
import { layerShapes, weightSpecs } from "../shapes.js";
import { LayerBuilder } from "./builder.js";
import type { GradientProgram, Operation, Value } from "./program.js";
import type { LayerRule } from "./rule.js";
import { layerRules } from "./rules.js";

/**
 * The forward pass alone, as in evaluation: moving statistics, dropout does nothing. Every layer has an activation of its own: no batch norm is folded into the layer before it, and
 * layers that do not lead to the output are there too.
 * @throws CodedError NETWORK_INVALID naming the layer.
 */
export function forwardProgram(network: Network): GradientProgram {
  const shapes = { layers: layerShapes(network), weights: new Map(weightSpecs(network).map(({ name, shape }) => [name, shape])) };
  const operations: Operation[] = [];
  const builderOf = (layer: string): LayerBuilder => new LayerBuilder(layer, operations, shapes);
  const activations = new Map<string, Value>([[INPUT, builderOf(INPUT).output({ kind: "features" }, [])]]);
  for (const layer of network.layers) {
    const [first, ...others] = layer.inputs.map((name) => valueOf(activations, name));
    assert(first !== undefined);
    const rule = layerRules.FROZEN[layer.kind] as LayerRule<Layer>;
    activations.set(layer.name, layer.kind === "dropout" ? first : rule(layer, [first, ...others], builderOf(layer.name)).output);
  }
  const output = valueOf(activations, network.output);
  activations.delete(INPUT);
  return { name: network.name, operations, forward: operations.length, output, activations, gradients: new Map(), moments: new Map() };
}

function valueOf(values: ReadonlyMap<string, Value>, name: string): Value {
  const value = values.get(name);
  assert(value !== undefined, `no value named ${name}`);
  return value;
}
