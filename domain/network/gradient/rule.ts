import type { Layer, LayerKind } from "../network.js";
import type { LayerBuilder } from "./builder.js";
import type { Value } from "./program.js";

export type OfKind<Kind extends LayerKind["kind"]> = Extract<Layer, { readonly kind: Kind }>;

/**
 * How a kind of layer is computed and differentiated: emits the forward operations at once, and the backward ones when `backward` is called.
 * A rule need not ask which gradients are wanted: operations that nothing needs are left out afterwards.
 */
export type LayerRule<L extends Layer> = (layer: L, inputs: LayerInputs, build: LayerBuilder) => LayerPass;

/** At least one; all but `add` and `concat` have exactly one. */
export type LayerInputs = readonly [Value, ...Value[]];

export interface LayerPass {
  readonly output: Value;
  /** Of a batch norm layer with statistics of the batch. */
  readonly moments?: Moments;
  /** Given the gradient of the output, emits those of inputs and parameters. */
  readonly backward: (dy: Value) => LayerGradients;
}

/** Mean and biased variance, `[C]` each. */
export interface Moments {
  readonly mean: Value;
  readonly variance: Value;
}

export interface LayerGradients {
  /** One per input of the layer. */
  readonly inputs: readonly Value[];
  /** By the parameter's name within the layer: `kernel` and so on. */
  readonly parameters?: Readonly<Record<string, Value>>;
}
