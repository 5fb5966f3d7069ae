import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { Network, Tensor, Weights } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import type { LossSpec } from "../../domain/training/loss.js";

/** Images or features in, activations or gradients out. Every adapter passes test/conformance/engine.ts. */
export interface Engine {
  readonly name: string;
  /** What the bits of `compileForward` and of `compileGradient` depend on, without decoder. */
  readonly forwardProfile: NumericsProfile;
  readonly gradientProfile: NumericsProfile;
  /**
   * A frozen network with constant weights, batch norm folded. Always runs the same batch shape (short batches are padded), so that bits depend neither on batch fill nor on position.
   * With `preprocessing` the input is uint8 pixels `[batch, size, size, 3]` in RGB order and cast, channel order and normalisation are part of the compiled graph; else float32 `[batch, ...network.inputShape]`.
   */
  compileForward(network: Network, weights: Weights, options: ForwardOptions): Promise<Forward>;
  /**
   * Sums of loss, gradient and batch statistics over `grains` neighbouring grains (an aligned sub-tree: 1, 2, 4, …), added in the order of the tree (domain/training/tree.ts).
   * One call for 8 grains has the same bits as 8 calls added up outside.
   * @throws CodedError ENGINE_UNSUPPORTED naming the first layer that this engine cannot train.
   */
  compileGradient(trainable: Trainable, shape: GradientShape): Promise<Gradient>;
  /**
   * The gradient of one grain, with that of `kernels`, large ones (domain/training/large-kernels.ts), handed out in parts, so that it never stands in memory as a whole. The bits are those of
   * `compileGradient`. Not every engine has it, and there are no statistics of the batch.
   */
  compileGradientInParts?(trainable: Trainable, grainRows: number, kernels: readonly string[]): Promise<GradientInParts>;
  /** Logits, loss and correct count of `rows` rows with the parameters and moving statistics given at each call; dropout does nothing, batch norm uses the moving statistics. */
  compileEvaluation(trainable: Trainable, rows: number): Promise<Evaluation>;
}

/** What is trained, and what else its gradient depends on. */
export interface Trainable {
  /** Tail and head. Ends in logits: `[classes]` for softmax, `[1]` for a single sigmoid. */
  readonly network: Network;
  readonly loss: LossSpec;
  /**
   * What batch norm layers do in training. FROZEN: normalise with the moving statistics, which stay. BATCH: with mean and variance (biased) of the rows of each grain, rows of
   * weight 0 left out. Scale and offset are trained either way.
   */
  readonly batchNorm: "FROZEN" | "BATCH";
  /** Where the network takes pixels: features are uint8 `[…, size, size, 3]` in RGB order, and cast, channel order and normalisation are part of the compiled graph. */
  readonly preprocessing?: Preprocessing;
}

export interface ForwardOptions {
  readonly batch: number;
  readonly preprocessing?: Preprocessing;
}

export interface Forward {
  /** Rows of one call. */
  readonly batch: number;
  /** `input` holds `rows` rows, at most `batch`. Returns a fresh array `[rows, ...output shape]`. */
  run(input: Uint8Array | Float32Array, rows: number): Promise<Float32Array>;
  release(): Promise<void>;
}

export interface GradientShape {
  /** Rows of one grain, padding included; at least 2. */
  readonly grainRows: number;
  /** 1, 2, 4, …: the grains of one call. */
  readonly grains: number;
}

export interface GradientInput {
  /** All parameters as one vector laid out by `parameterLayout(network)` (domain/training/parameters.ts). */
  readonly parameters: Float32Array;
  /** Moving statistics of batch norm, laid out by `statisticsLayout(network)`; empty where there is none. */
  readonly statistics: Float32Array;
  /** `[grains, grainRows, ...network.inputShape]`; pixels with `preprocessing`, else float32. */
  readonly features: Float32Array | Uint8Array;
  /** `[grains, grainRows]`: class numbers; anything in rows of weight 0. */
  readonly labels: Int32Array;
  /** `[grains, grainRows]`: class weight of the row; 0 for padding. */
  readonly rowWeights: Float32Array;
  /** One per dropout layer in network order, `[grains, grainRows, units]`: 0 or 1 / (1 - rate). */
  readonly dropoutMasks: readonly Float32Array[];
  /** Where the gradient is to be written, `[parameters]`; without it, memory of the engine. The same array at every call saves wrapping it again. */
  readonly gradient?: Float32Array;
}

export interface GradientSums {
  /** Sum of rowWeight x loss over the rows, without regularisation. */
  readonly loss: number;
  /** Rows of weight > 0 whose largest logit (or sigmoid side) is the label. */
  readonly correct: number;
  /** Sum of rowWeight x gradient, laid out as the parameters: the input's `gradient`, else an array that is valid until the next call of `run`. */
  readonly gradient: Float32Array;
  /**
   * With BATCH: the sum over the grains of rows x batch mean and rows x batch variance, in the place of `moving_mean` and `moving_variance` of `statisticsLayout(network)`, with the rows
   * of weight > 0 of each grain. Empty with FROZEN. Valid until the next call of `run`.
   */
  readonly statistics: Float32Array;
}

export interface Gradient {
  run(input: GradientInput): Promise<GradientSums>;
  release(): Promise<void>;
}

/** The gradient of `run` has anything in the place of the kernels whose gradient comes in parts. */
export interface GradientInParts extends Gradient {
  /**
   * The gradient that the last run has for a kernel, one part after another: when `use` is called, that of the kernel's elements from `from` to before `to` stands at the beginning of `into`, which is as
   * long as the kernel.
   */
  eachPart(kernel: string, into: Float32Array, use: (from: number, to: number) => void): Promise<void>;
}

export interface EvaluationInput {
  readonly parameters: Float32Array;
  /** As in `GradientInput`. */
  readonly statistics: Float32Array;
  /** `[rows, ...network.inputShape]`; pixels with `preprocessing`, else float32. */
  readonly features: Float32Array | Uint8Array;
  readonly labels: Int32Array;
  /** 1 or 0 (padding); class weights do not count in evaluation. */
  readonly rowWeights: Float32Array;
}

export interface EvaluationSums {
  readonly loss: number;
  readonly correct: number;
  /** `[rows, classes]` or `[rows, 1]` */
  readonly logits: Float32Array;
}

export interface Evaluation {
  readonly rows: number;
  run(input: EvaluationInput): Promise<EvaluationSums>;
  /** Activations `[rows, ...shape]` of every layer of the trainable network that has weights (its pre-activation) or is an activation, by layer name; for histograms. */
  activations(input: EvaluationInput): Promise<ReadonlyMap<string, Tensor>>;
  release(): Promise<void>;
}
