import { legalCuts } from "../../domain/network/cut.js";
import { elementCount, INPUT, type Network, type Shape } from "../../domain/network/network.js";
import { layerShapes, multiplyAddsPerImage, weightSpecs } from "../../domain/network/shapes.js";

export interface LayerRow {
  readonly name: string;
  readonly kind: string;
  readonly shape: Shape;
  readonly parameters: number;
  /** For one picture. */
  readonly multiplyAdds: number;
  /** Whether a job may divide the network after this layer. */
  readonly cut: boolean;
  /** What one picture's feature takes if it does. */
  readonly featureBytes: number;
}

/** Layers in their order, and the sums over them. */
export function describeNetwork(network: Network): {
  readonly layers: readonly LayerRow[];
  readonly parameters: number;
  readonly multiplyAdds: number;
} {
  const shapes = layerShapes(network);
  const cuts = new Set(legalCuts(network));
  const parameters = new Map<string, number>();
  for (const { name, shape } of weightSpecs(network)) {
    const layer = name.slice(0, name.lastIndexOf("/"));
    parameters.set(layer, (parameters.get(layer) ?? 0) + elementCount(shape));
  }
  const layers = network.layers.map((layer): LayerRow => {
    const shape = shapes.get(layer.name) ?? [];
    // Layers of several inputs (add, concat) have no multiply-adds.
    const alone: Network = {
      name: network.name,
      inputShape: shapes.get(layer.inputs[0] ?? INPUT) ?? [],
      layers: [{ ...layer, inputs: [INPUT] }],
      output: layer.name,
    };
    return {
      name: layer.name,
      kind: layer.kind,
      shape,
      parameters: parameters.get(layer.name) ?? 0,
      multiplyAdds: layer.inputs.length === 1 ? multiplyAddsPerImage(alone) : 0,
      cut: cuts.has(layer.name),
      featureBytes: Float32Array.BYTES_PER_ELEMENT * elementCount(shape),
    };
  });
  const sum = (of: (row: LayerRow) => number): number => layers.reduce((total, row) => total + of(row), 0);
  return { layers, parameters: sum((row) => row.parameters), multiplyAdds: sum((row) => row.multiplyAdds) };
}
