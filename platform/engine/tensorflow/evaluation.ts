import { strict as assert } from "node:assert";
import { setImmediate as othersRun } from "node:timers/promises";
import { elementCount, type Layer, type Tensor } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { parameterLayout, statisticsLayout } from "../../../domain/training/parameters.js";
import type { Evaluation, EvaluationInput, Trainable } from "../engine.js";
import { checkFeatures } from "../check-features.js";
import { sumRowLosses, Targets } from "../row-sums.js";
import { Kernels } from "./kernels.js";
import type { Runtime } from "./load.js";
import { rowLosses } from "./loss.js";
import { infer } from "./pass.js";
import { uploadFeatures } from "./pixels.js";
import { targetColumns } from "../target-columns.js";
import { uploadVectors } from "./weights.js";

/** The kinds of layers whose output is shown in histograms: those with weights and activations. */
const shownKinds: ReadonlySet<Layer["kind"]> = new Set([
  ...(["conv2d", "depthwiseConv2d", "batchNorm", "dense"] as const),
  ...(["relu", "relu6", "sigmoid", "softmax"] as const),
]);

/** A pass over many rows is divided so that its largest activation stays below this. */
const activationBytesMax = 128 * 2 ** 20;

/** Logits, loss and correct count with parameters and statistics as inputs; see `Engine.compileEvaluation`. */
export function compileEvaluation({ binding, onGpu }: Runtime, trainable: Trainable, rows: number): Evaluation {
  const { network, loss, preprocessing } = trainable;
  assert(Number.isInteger(rows) && rows >= 2, `an evaluation has at least 2 rows a call, found ${rows}`);
  const columns = targetColumns(network, loss);
  const shapes = layerShapes(network);
  const layout = parameterLayout(network);
  const movingLayout = statisticsLayout(network);
  const rowLength = elementCount(network.inputShape);
  const largest = Math.max(...[...shapes.values()].map(elementCount));
  const passRows = Math.min(rows, Math.max(1, Math.floor(activationBytesMax / (4 * largest))));
  const shown = network.layers.filter(({ kind }) => shownKinds.has(kind)).map(({ name }) => name);
  const targets = new Targets(rows, columns, loss);

  /** Runs pass after pass; `see` takes the output of each layer that it wants as a copy. */
  async function runPasses(
    input: EvaluationInput,
    wanted: ReadonlySet<string>,
    see: (layer: string, first: number, data: Float32Array) => void,
  ): Promise<PassResults> {
    checkFeatures(network.name, input.features, rows * rowLength, preprocessing);
    targets.write(input.labels, input.rowWeights);
    const results = {
      losses: new Float32Array(rows),
      predicted: new Int32Array(rows),
      logits: new Float32Array(rows * elementCount(shapes.get(network.output) ?? [])),
    };
    const kernels = new Kernels(binding);
    try {
      const weights = uploadVectors(kernels, `evaluation of ${network.name}`, [
        ["parameters", layout, input.parameters],
        ["statistics", movingLayout, input.statistics],
      ]);
      for (let first = 0; first < rows; first += passRows) {
        const end = Math.min(first + passRows, rows);
        const features = uploadFeatures(
          kernels,
          input.features.subarray(first * rowLength, end * rowLength),
          [end - first, ...network.inputShape],
          preprocessing,
        );
        const logits = infer(kernels, network, features, {
          weights,
          onGpu,
          inspect: (layer, output) => {
            if (wanted.has(layer)) see(layer, first, kernels.read(output));
          },
        });
        const found = rowLosses(kernels, logits, targets.data.subarray(first * columns, end * columns), loss);
        kernels.release(logits);
        kernels.release(found.gradient);
        results.losses.set(found.losses, first);
        results.predicted.set(found.predicted, first);
        results.logits.set(found.logits, (first * found.logits.length) / (end - first));
        await othersRun();
      }
    } finally {
      kernels.close();
    }
    return results;
  }

  return {
    rows,
    async run(input) {
      const { losses, predicted, logits } = await runPasses(input, new Set(), () => undefined);
      return { ...sumRowLosses(losses, predicted, input, 1), logits };
    },
    async activations(input) {
      const activations = new Map(
        shown.map((name): [string, Tensor] => {
          const shape = shapes.get(name) ?? [];
          return [name, { shape: [rows, ...shape], data: new Float32Array(rows * elementCount(shape)) }];
        }),
      );
      await runPasses(input, new Set(shown), (layer, first, data) => {
        const { shape, data: whole } = activations.get(layer) as Tensor;
        whole.set(data, first * elementCount(shape.slice(1)));
      });
      return activations;
    },
    async release() {},
  };
}

interface PassResults {
  readonly losses: Float32Array;
  readonly predicted: Int32Array;
  readonly logits: Float32Array;
}
