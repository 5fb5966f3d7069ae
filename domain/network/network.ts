/**
 * One description of a network for every importer, engine and exporter: a graph of named layers over NHWC activations.
 * Shapes leave out the batch dimension: an image is `[height, width, channels]`, a pooled feature `[channels]`.
 */
export type Shape = readonly number[];

/** The name by which layers refer to what enters the network. */
export const INPUT = "input";

/** Rows and columns of padding, always explicit; TensorFlow's "SAME" is worked out by the catalogue (`samePadding`). */
export interface Padding {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

export type Pair = readonly [height: number, width: number];

/** What a layer computes. Weight tensors are named `LAYER/kernel` and so on; `weightSpecs` in shapes.ts lists them. */
export type LayerKind =
  /** `kernel [h, w, in / groups, filters]`, `bias [filters]`. */
  | {
      readonly kind: "conv2d";
      readonly filters: number;
      readonly kernel: Pair;
      readonly strides: Pair;
      readonly padding: Padding;
      readonly bias: boolean;
    }
  /** `depthwise_kernel [h, w, in, 1]`, `bias [in]`. */
  | { readonly kind: "depthwiseConv2d"; readonly kernel: Pair; readonly strides: Pair; readonly padding: Padding; readonly bias: boolean }
  /** `gamma`, `beta` (where present), `moving_mean`, `moving_variance`, each `[channels]`. */
  | { readonly kind: "batchNorm"; readonly epsilon: number; readonly scale: boolean; readonly center: boolean }
  | { readonly kind: "relu" }
  | { readonly kind: "relu6" }
  | { readonly kind: "sigmoid" }
  | { readonly kind: "softmax" }
  | { readonly kind: "add" }
  /** Along the last axis (channels). */
  | { readonly kind: "concat" }
  | { readonly kind: "maxPool"; readonly size: Pair; readonly strides: Pair; readonly padding: Padding }
  /** Padding does not count in the average, as in TensorFlow. */
  | { readonly kind: "averagePool"; readonly size: Pair; readonly strides: Pair; readonly padding: Padding }
  /** `[height, width, channels]` to `[channels]`. */
  | { readonly kind: "globalAveragePool" }
  | { readonly kind: "zeroPad"; readonly padding: Padding }
  /** Row-major over height, width, channels. */
  | { readonly kind: "flatten" }
  /** `kernel [in, units]`, `bias [units]`. */
  | { readonly kind: "dense"; readonly units: number; readonly bias: boolean }
  /** Scales what it keeps by 1 / (1 - rate) in training; nothing in inference. */
  | { readonly kind: "dropout"; readonly rate: number };

export type Layer = LayerKind & {
  readonly name: string;
  /** Names of earlier layers or `INPUT`. All but `add` and `concat` take exactly one. */
  readonly inputs: readonly string[];
};

/** Layers in an order in which every input precedes its use. */
export interface Network {
  readonly name: string;
  readonly inputShape: Shape;
  readonly layers: readonly Layer[];
  /** The name of the layer whose activation leaves the network. */
  readonly output: string;
}

export interface Tensor {
  readonly shape: Shape;
  readonly data: Float32Array;
}

/** Tensors by name, e.g. `Conv1/kernel`. */
export type Weights = ReadonlyMap<string, Tensor>;

export function elementCount(shape: Shape): number {
  return shape.reduce((product, length) => product * length, 1);
}
