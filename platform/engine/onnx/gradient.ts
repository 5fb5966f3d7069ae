import { strict as assert } from "node:assert";
import type { Tensor } from "onnxruntime-node";
import { parameterLayout, type ParameterLayout } from "../../../domain/training/parameters.js";
import { addRowsAlongTree, isPowerOfTwo } from "../../../domain/training/tree.js";
import type { Gradient, GradientInput, GradientShape, Trainable } from "../engine.js";
import { denseChain, targetColumns } from "./dense-chain.js";
import { encodeGradient, grainInput, gradientOutput } from "./gradient-graph.js";
import { runWithoutCopies } from "./run-without-copies.js";
import { createSession, type Runtime } from "./runtime.js";
import { sumRowLosses, Targets } from "../row-sums.js";

/** Gradients always run on one thread: a matrix product shared by threads adds in another order. */
export const gradientThreads = 1;

/** Sums of loss and gradient over the grains of one call; see `Engine.compileGradient`. */
export async function compileGradient(runtime: Runtime, trainable: Trainable, shape: GradientShape): Promise<Gradient> {
  const { loss } = trainable;
  const { grainRows, grains } = shape;
  assert(Number.isInteger(grainRows) && grainRows >= 2, `a grain has at least 2 rows, found ${grainRows}`);
  assert(isPowerOfTwo(grains), `the grains of one call must be a power of two, found ${grains}`);
  const chain = denseChain(trainable);
  const layout = parameterLayout(trainable.network);
  // The graph is written as it shall run; the optimiser could join operators differently for different numbers of grains.
  const session = await createSession(runtime, encodeGradient(chain, loss, shape), gradientThreads, { graphOptimizationLevel: "disabled" });

  const rows = grains * grainRows;
  const float = (data: Float32Array, dims: readonly number[]): Tensor => new runtime.Tensor("float32", data, dims);
  const targets = new Targets(rows, targetColumns(chain, loss), loss);
  const rowLoss = new Float32Array(rows);
  const predicted = new Int32Array(rows);
  const ownGradient = new Float32Array(layout.length);

  // Everything that is written lies in arrays of ours, made once. Biases come as one row a grain and are added up here: a few hundred additions.
  const fetches: Record<string, Tensor> = { rowLoss: float(rowLoss, [rows, 1]), predicted: new runtime.Tensor("int32", predicted, [rows]) };
  const biases = layout.entries
    .filter((entry) => entry.shape.length === 1)
    .map(({ name, offset, length }) => ({ name: gradientOutput(name), offset, byGrain: new Float32Array(grains * length) }));
  for (const { name, byGrain } of biases) fetches[name] = float(byGrain, [grains, 1, byGrain.length / grains]);
  const fetchInto = (gradient: Float32Array): void => {
    for (const { name, shape: dims, offset, length } of layout.entries) {
      if (dims.length > 1) fetches[gradientOutput(name)] = float(gradient.subarray(offset, offset + length), dims);
    }
  };

  // Inputs are wrapped, not copied; a trainer passes the same arrays at every step, so the wrapping is kept too.
  const known = new Set(session.inputNames);
  const feeds: Record<string, Tensor> = { targets: float(targets.data, [rows, targetColumns(chain, loss)]) };
  const wrapped = new Map<string, Float32Array>();
  // A chain of dense layers has no batch norm.
  const statistics = new Float32Array(0);
  const feed = (slot: string, data: Float32Array, length: number, wrap: () => void): void => {
    if (wrapped.get(slot) === data) return;
    assert.equal(data.length, length, `gradient of ${chain.name}: ${slot} must hold ${length} values, found ${data.length}`);
    wrap();
    wrapped.set(slot, data);
  };
  const dropouts = chain.steps.filter(({ layer }) => layer.kind === "dropout");
  let running = false;

  return {
    async run(input: GradientInput) {
      assert(!running, "one gradient call at a time: its results lie in arrays that are used again");
      assert.equal(input.labels.length, rows, `gradient of ${chain.name}: labels must hold ${rows} values, found ${input.labels.length}`);
      assert.equal(input.dropoutMasks.length, dropouts.length, `gradient of ${chain.name}: one mask per dropout layer`);
      feed("parameters", input.parameters, layout.length, () => wrapParameters(layout, input.parameters, float, feeds));
      feed("rowWeights", input.rowWeights, rows, () => (feeds["rowWeights"] = float(input.rowWeights, [rows, 1])));
      const { features } = input;
      assert(features instanceof Float32Array, `gradient of ${chain.name}: features must be float32`);
      feed("features", features, rows * chain.features, () => {
        feeds["features"] = float(features, [rows, chain.features]);
        for (let grain = 0; grain < grains && known.has(grainInput(grain)); grain++) {
          const start = grain * grainRows * chain.features;
          feeds[grainInput(grain)] = float(features.subarray(start, start + grainRows * chain.features), [grainRows, chain.features]);
        }
      });
      dropouts.forEach(({ layer, rowsOut }, i) => {
        const mask = input.dropoutMasks[i];
        assert(mask !== undefined);
        feed(`${layer.name}/mask`, mask, rows * rowsOut, () => (feeds[`${layer.name}/mask`] = float(mask, [rows, rowsOut])));
      });
      const gradient = input.gradient ?? ownGradient;
      feed("gradient", gradient, layout.length, () => fetchInto(gradient));
      targets.write(input.labels, input.rowWeights);

      running = true;
      try {
        await runWithoutCopies(session, feeds, fetches);
      } finally {
        running = false;
      }
      for (const { byGrain, offset } of biases) gradient.set(addRowsAlongTree(byGrain, grains), offset);
      const sums = sumRowLosses(rowLoss, predicted, input, grains);
      return { ...sums, gradient, statistics };
    },
    release: () => session.release(),
  };
}

export function wrapParameters(
  layout: ParameterLayout,
  parameters: Float32Array,
  float: (data: Float32Array, dims: readonly number[]) => Tensor,
  feeds: Record<string, Tensor>,
): void {
  for (const { name, shape, offset, length } of layout.entries) feeds[name] = float(parameters.subarray(offset, offset + length), shape);
}
