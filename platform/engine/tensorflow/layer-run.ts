import type { Kernels, Value } from "./kernels.js";

/** What one layer did: its output, and how to get the gradients of its inputs and weights from that of the output. */
export interface LayerRun {
  readonly output: Value;
  /** Made on the way beside the output; freed once the run is recorded. */
  readonly temporary: readonly Value[];
  /** What `backward` reads besides weights: inputs, output or temporaries. They are held until it has run. */
  readonly saved: readonly Value[];
  readonly backward: Backward;
}

/**
 * `gradient` is that of the output; it is not freed here. With `wanted` false the gradients of the inputs are not needed, because no weights lie below.
 * Returns values that belong to the caller.
 */
export type Backward = (gradient: Value, wanted: boolean) => LayerGradients;

export interface LayerGradients {
  /** One per input of the layer; empty where not wanted. */
  readonly inputs: readonly Value[];
  /** By the weight's name within the layer: `kernel`, `bias`, `gamma`, … */
  readonly weights: Readonly<Record<string, Value>>;
}

/** What a layer needs besides its inputs. */
export interface LayerContext {
  readonly kernels: Kernels;
  /** The layer's weights by their names within it, moving statistics included. */
  readonly weight: (name: string) => Value;
  /** In training: the layer's dropout mask. */
  readonly mask?: Value | undefined;
  /** Batch norm takes mean and variance from the rows, and tells them. */
  readonly batchStatistics?: ((mean: Value, variance: Value) => void) | undefined;
  /** The fused gradient of a batch norm with given statistics refuses to be deterministic on a GPU. */
  readonly onGpu: boolean;
}

export const float32 = { T: { type: "float32" } } as const;
