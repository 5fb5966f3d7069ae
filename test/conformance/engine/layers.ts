import { noPadding } from "../../../domain/network/catalog/same-padding.js";
import { INPUT, type Layer, type LayerKind, type Network, type Padding, type Pair } from "../../../domain/network/network.js";

/** A network in which each layer takes the one before it; layers are named KIND_NUMBER. */
export function chain(name: string, inputShape: readonly number[], kinds: readonly LayerKind[]): Network {
  const layers = kinds.map((kind, i): Layer => ({
    ...kind,
    name: `${kind.kind}_${i}`,
    inputs: [i === 0 ? INPUT : `${kinds[i - 1]?.kind}_${i - 1}`],
  }));
  return { name, inputShape, layers, output: layers.at(-1)?.name ?? INPUT };
}

/** A network of named layers with the names of their inputs; the last one is the output. */
export function graph(
  name: string,
  inputShape: readonly number[],
  rows: readonly (readonly [name: string, inputs: readonly string[], kind: LayerKind])[],
): Network {
  const layers = rows.map(([layer, inputs, kind]): Layer => ({ ...kind, name: layer, inputs }));
  return { name, inputShape, layers, output: layers.at(-1)?.name ?? INPUT };
}

interface WindowOptions {
  readonly strides?: Pair;
  readonly padding?: Padding;
  readonly bias?: boolean;
}

export function conv(
  filters: number,
  kernel: Pair,
  { strides = [1, 1], padding = noPadding, bias = false }: WindowOptions = {},
): LayerKind {
  return { kind: "conv2d", filters, kernel, strides, padding, bias };
}

export function depthwise(kernel: Pair, { strides = [1, 1], padding = noPadding, bias = false }: WindowOptions = {}): LayerKind {
  return { kind: "depthwiseConv2d", kernel, strides, padding, bias };
}

export function pool(kind: "maxPool" | "averagePool", size: Pair, { strides = size, padding = noPadding }: WindowOptions = {}): LayerKind {
  return { kind, size, strides, padding };
}

export function dense(units: number, bias = true): LayerKind {
  return { kind: "dense", units, bias };
}

export const batchNorm = { kind: "batchNorm", epsilon: 1e-3, scale: true, center: true } as const;
export const relu = { kind: "relu" } as const;
export const relu6 = { kind: "relu6" } as const;
export const flatten = { kind: "flatten" } as const;
export const globalAveragePool = { kind: "globalAveragePool" } as const;
export const two: Pair = [2, 2];

/** PyTorch's padding: the same on all sides. */
export function around(rows: number): Padding {
  return { top: rows, bottom: rows, left: rows, right: rows };
}
