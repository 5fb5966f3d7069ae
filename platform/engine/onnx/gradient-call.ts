import { strict as assert } from "node:assert";
import type { Tensor } from "onnxruntime-node";
import { elementCount, type Network } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { parameterLayout, statisticsLayout, type ParameterLayout } from "../../../domain/training/parameters.js";
import { addRowsAlongTree } from "../../../domain/training/tree.js";
import type { GradientInput, GradientShape } from "../engine.js";
import { grainInput } from "./lowering/walk.js";
import type { GradientGraph, GraphResult } from "./lowering/lowered-graph.js";
import type { OpenSession } from "./sessions.js";
import type { Runtime } from "./runtime.js";

/** What one call of a graph takes: as `GradientInput`, of the graph's rows. */
export interface CallInput extends Omit<GradientInput, "gradient" | "labels"> {
  /** `[rows, columns]` */
  readonly targets: Float32Array;
}

/** Where one call writes. */
export interface CallOutput {
  /** `[parameters]` */
  readonly gradient: Float32Array;
  /** As `statisticsLayout`: means and variances, where the graph gives them. */
  readonly moments: Float32Array;
  /** `[rows]` */
  readonly rowLoss: Float32Array;
  /** `[rows]` */
  readonly predicted: Int32Array;
}

/** The factors of a gradient that is held back: x `[rows, in]`, dy `[rows, units]`. They hold what the last run gave. */
export interface HeldFactors {
  readonly x: Float32Array;
  readonly dy: Float32Array;
}

/** A gradient graph in a session, with the arrays that it reads and writes wrapped as tensors. Inputs are wrapped, not copied, and the wrapping is kept for arrays that come again. */
export class GradientCall {
  readonly #runtime: Runtime;
  readonly #opened: OpenSession<GradientGraph>;
  readonly #network: Network;
  readonly #shape: GradientShape;
  readonly #rows: number;
  readonly #parameters: ParameterLayout;
  readonly #statistics: ParameterLayout;
  readonly #dropouts: readonly { readonly name: string; readonly length: number; readonly shape: readonly number[] }[];
  readonly #inputs: ReadonlySet<string>;
  readonly #feeds: Record<string, Tensor> = {};
  readonly #fetches: Record<string, Tensor> = {};
  readonly #wrapped = new Map<string, unknown>();
  /** Outputs that are still to be added up. */
  readonly #stacks: readonly { readonly offset: number; readonly byGrain: Float32Array }[];
  /** Of the kernels that are held back; without x where the features are x. */
  readonly #held: ReadonlyMap<string, { readonly x: Float32Array | undefined; readonly dy: Float32Array }>;
  #features: Float32Array | Uint8Array | undefined;
  /** Parameters that do not reach the network's output. */
  readonly #unreached: ParameterLayout["entries"];

  constructor(runtime: Runtime, opened: OpenSession<GradientGraph>, network: Network, shape: GradientShape) {
    this.#runtime = runtime;
    this.#opened = opened;
    this.#network = network;
    this.#shape = shape;
    this.#rows = shape.grains * shape.grainRows;
    this.#parameters = parameterLayout(network);
    this.#statistics = statisticsLayout(network);
    this.#inputs = new Set(opened.session.inputs.map(({ name }) => name));
    const shapes = layerShapes(network);
    this.#dropouts = network.layers
      .filter(({ kind }) => kind === "dropout")
      .map(({ name }) => ({ name, shape: shapes.get(name) ?? [], length: elementCount(shapes.get(name) ?? []) }));
    this.#stacks = opened.graph.gradients
      .filter(({ isStack }) => isStack)
      .map(({ tensor, output, dimensions }) => {
        const byGrain = new Float32Array(elementCount(dimensions));
        this.#fetches[output] = this.#float(byGrain, dimensions);
        return { offset: entryOf(this.#parameters, tensor).offset, byGrain };
      });
    this.#held = new Map(
      opened.graph.held.map(({ tensor, x, dy, rows, shape: [inputs = 0, units = 0] }) => {
        const fetched = (output: string, columns: number): Float32Array => {
          const data = new Float32Array(rows * columns);
          this.#fetches[output] = this.#float(data, [rows, columns]);
          return data;
        };
        return [tensor, { x: x === undefined ? undefined : fetched(x, inputs), dy: fetched(dy, units) }];
      }),
    );
    const reached = new Set([...opened.graph.gradients, ...opened.graph.held].map(({ tensor }) => tensor));
    this.#unreached = this.#parameters.entries.filter(({ name }) => !reached.has(name));
  }

  /** What the last run gave of a gradient that is held back. */
  factorsOf(tensor: string): HeldFactors {
    const held = this.#held.get(tensor);
    const x = held?.x ?? this.#features;
    assert(held !== undefined && x instanceof Float32Array, `the gradient of ${tensor} is not held back`);
    return { x, dy: held.dy };
  }

  /** Works out what depends on parameters and statistics alone, for all runs until they change; of a graph that is divided. */
  async prepare({ parameters, statistics }: Pick<CallInput, "parameters" | "statistics">): Promise<void> {
    const { preparation } = this.#opened;
    if (preparation === undefined) return;
    const feeds: Record<string, Tensor> = {};
    for (const [layout, vector] of [
      [this.#parameters, parameters],
      [this.#statistics, statistics],
    ] as const)
      // prettier-ignore
      for (const { name, shape, offset, length } of layout.entries)
        if (preparation.inputs.has(name)) feeds[name] = this.#float(vector.subarray(offset, offset + length), shape);
    Object.assign(this.#feeds, await preparation.run(feeds));
  }

  async run(input: CallInput, output: CallOutput): Promise<void> {
    this.#features = input.features;
    this.#feed(input);
    this.#fetch(output);
    await this.#opened.session.run(this.#feeds, this.#fetches);
    for (const { offset, byGrain } of this.#stacks) output.gradient.set(addRowsAlongTree(byGrain, this.#shape.grains), offset);
    for (const { offset, length } of this.#unreached) output.gradient.fill(0, offset, offset + length);
  }

  release(): Promise<void> {
    return this.#opened.release();
  }

  #feed({ parameters, statistics, features, targets, rowWeights, dropoutMasks }: CallInput): void {
    const rows = this.#rows;
    const { inputShape } = this.#network;
    this.#wrap("parameters", parameters, () => this.#feedTensors(this.#parameters, parameters));
    this.#wrap("statistics", statistics, () => this.#feedTensors(this.#statistics, statistics));
    this.#wrap("targets", targets, () => this.#feedOne("targets", targets, [rows, targets.length / rows]));
    this.#wrap("rowWeights", rowWeights, () => this.#feedOne("rowWeights", rowWeights, [rows, 1]));
    this.#wrap("features", features, () => {
      this.#feedOne("features", features, [rows, ...inputShape]);
      const { grains, grainRows } = this.#shape;
      const length = features.length / grains;
      for (let grain = 0; grain < grains && this.#inputs.has(grainInput(grain)); grain++)
        this.#feedOne(grainInput(grain), features.subarray(grain * length, (grain + 1) * length), [grainRows, ...inputShape]);
    });
    this.#dropouts.forEach(({ name, shape }, i) => {
      const mask = dropoutMasks[i];
      assert(mask !== undefined);
      this.#wrap(`${name}/mask`, mask, () => this.#feedOne(`${name}/mask`, mask, [rows, ...shape]));
    });
  }

  #fetch({ gradient, moments, rowLoss, predicted }: CallOutput): void {
    const { graph } = this.#opened;
    const { Tensor: OnnxTensor } = this.#runtime;
    this.#wrap("rowLoss", rowLoss, () => (this.#fetches["rowLoss"] = this.#float(rowLoss, [this.#rows, 1])));
    this.#wrap("predicted", predicted, () => (this.#fetches["predicted"] = new OnnxTensor("int32", predicted, [this.#rows])));
    this.#wrap("gradient", gradient, () => {
      for (const result of graph.gradients) if (!result.isStack) this.#fetchInto(gradient, this.#parameters, result);
    });
    this.#wrap("moments", moments, () => graph.moments.forEach((result) => this.#fetchInto(moments, this.#statistics, result)));
  }

  #fetchInto(vector: Float32Array, layout: ParameterLayout, { tensor, output, dimensions }: GraphResult): void {
    const { offset, length } = entryOf(layout, tensor);
    this.#fetches[output] = this.#float(vector.subarray(offset, offset + length), dimensions);
  }

  #feedTensors(layout: ParameterLayout, vector: Float32Array): void {
    for (const { name, shape, offset, length } of layout.entries) this.#feedOne(name, vector.subarray(offset, offset + length), shape);
  }

  /** The binding takes no tensors that the graph has no input for. */
  #feedOne(name: string, data: Float32Array | Uint8Array, dims: readonly number[]): void {
    if (!this.#inputs.has(name)) return;
    this.#feeds[name] = data instanceof Uint8Array ? new this.#runtime.Tensor("uint8", data, dims) : this.#float(data, dims);
  }

  #wrap(slot: string, array: unknown, wrap: () => void): void {
    if (this.#wrapped.get(slot) === array) return;
    wrap();
    this.#wrapped.set(slot, array);
  }

  #float(data: Float32Array, dims: readonly number[]): Tensor {
    return new this.#runtime.Tensor("float32", data, dims);
  }
}

function entryOf(layout: ParameterLayout, name: string): ParameterLayout["entries"][number] {
  const entry = layout.entries.find((each) => each.name === name);
  assert(entry !== undefined, `no tensor named ${name}`);
  return entry;
}
