import { describe, expect, test } from "vitest";
import { elementCount, type Network, type Tensor } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { parameterLayout, statisticsLayout, tensorsOf } from "../../../domain/training/parameters.js";
import type { EngineName } from "../../../domain/training/trainable-layers.js";
import type { EvaluationInput, Trainable } from "../../../platform/engine/engine.js";
import { referenceSums } from "../../support/reference-training.js";
import { bits, expectClose } from "./compare.js";
import { type Engines, isTrainedBy, trainedBy } from "./engines.js";
import { normalised } from "./gradients.js";
import { gradientInput, randoms } from "./inputs.js";
import { batchNorm, chain, conv, dense, globalAveragePool, relu, relu6 } from "./layers.js";
import { nameOf, pixels, trainableOf } from "./networks.js";

/** Logits, losses, counts and activations of what is trained. */
export function exerciseEvaluation(name: EngineName, engines: Engines): void {
  describe("evaluation", () => {
    const trainables = [...trainedBy(name), ...(["RGB", "BGR"] as const).map(pixels)].filter((each) => isTrainedBy(name, each));
    test.each(trainables.map((trainable) => [nameOf(trainable), trainable] as const))(
      "%s: logits, loss, count and activations; dropout does nothing, batch norm uses the moving statistics",
      async (_, trainable) => {
        const { network } = trainable;
        const rows = 5;
        const input = evaluationInput(trainable, rows, 14);
        const evaluation = await engines().engine.compileEvaluation(trainable, rows);
        expect(evaluation.rows).toBe(rows);
        const sums = await evaluation.run(input);
        const expected = referenceSums({ ...trainable, batchNorm: "FROZEN" }, { ...input, dropoutMasks: [] }, rows);
        expectClose([sums.loss], [expected.loss], 1e-5, "loss");
        expect(sums.correct).toBe(expected.correct);
        const valuesOf = (layer: string): number[] => (expected.activations.get(layer) ?? []).flatMap((row) => [...row]);
        expectClose(sums.logits, valuesOf(network.output), 1e-5, "logits");

        const activations = await evaluation.activations(input);
        const shapes = layerShapes(network);
        expect([...activations.keys()]).toEqual(shownLayers(network));
        for (const [layer, { shape, data }] of activations) {
          expect(shape).toEqual([rows, ...(shapes.get(layer) ?? [])]);
          expectClose(data, valuesOf(layer), 1e-5, `activation of ${layer}`);
        }
        expect(bits((activations.get(network.output) as Tensor).data)).toBe(bits(sums.logits));
        await evaluation.release();
      },
    );

    const networks = samples(name);
    test.each(networks)("%s: the same logits as of the frozen network with these weights", async (_, trainable) => {
      const { network, preprocessing } = trainable;
      const input = evaluationInput(trainable, 4, 15);
      const evaluation = await engines().engine.compileEvaluation(trainable, 4);
      const { logits } = await evaluation.run(input);
      await evaluation.release();
      const weights = new Map([
        ...tensorsOf(parameterLayout(network), input.parameters),
        ...tensorsOf(statisticsLayout(network), input.statistics),
      ]);
      const forward = await engines().engine.compileForward(network, weights, { batch: 4, ...(preprocessing && { preprocessing }) });
      expectClose(await forward.run(input.features, 4), logits, 1e-5, "logits");
      await forward.release();
    });

    test.each(networks)("%s: a row has the same bits at any position and fill", async (_, trainable) => {
      const rows = 6;
      const input = evaluationInput(trainable, rows, 16);
      const width = elementCount(trainable.network.inputShape);
      const evaluation = await engines().engine.compileEvaluation(trainable, rows);
      const seen = new Map<string, Set<string>>();
      const see = (what: string, values: Float32Array, row: number): void => {
        const length = values.length / rows;
        const known = seen.get(what) ?? new Set();
        seen.set(what, known.add(bits(values.slice(row * length, (row + 1) * length))));
      };
      for (let position = 0; position < rows; position++) {
        for (const used of [position + 1, rows]) {
          const features = input.features.slice();
          features.fill(0, used * width);
          features.set(input.features.subarray(0, width), position * width);
          const labels = input.labels.slice();
          labels[position] = input.labels[0] as number;
          const moved = { ...input, features, labels, rowWeights: new Float32Array(rows).fill(1, 0, used) };
          see("logits", (await evaluation.run(moved)).logits, position);
          for (const [layer, { data }] of await evaluation.activations(moved)) see(layer, data, position);
          const alone = { ...moved, rowWeights: Float32Array.from({ length: rows }, (__, row) => (row === position ? 1 : 0)) };
          see("loss", new Float32Array(rows).fill((await evaluation.run(alone)).loss), position);
        }
      }
      expect([...seen].filter(([, found]) => found.size !== 1).map(([what]) => what)).toEqual([]);
      await evaluation.release();
    });

    test.each(networks)(
      "%s: rows of weight 0 change nothing, and results stay as they were when the next call runs",
      async (_, trainable) => {
        const rows = 5;
        const input = evaluationInput(trainable, rows, 17);
        const width = elementCount(trainable.network.inputShape);
        const evaluation = await engines().engine.compileEvaluation(trainable, rows);
        const [sums, activations] = [await evaluation.run(input), await evaluation.activations(input)];
        const [logits, kept] = [bits(sums.logits), [...activations].map(([layer, { data }]) => [layer, bits(data)])];

        const features = input.features.slice();
        const labels = input.labels.slice();
        input.rowWeights.forEach((weight, row) => {
          if (weight !== 0) return;
          features.set(
            randoms(width, 200 + row).map((value) => 128 + 100 * value),
            row * width,
          );
          labels[row] = -7;
        });
        const other = await evaluation.run({ ...input, features, labels });
        expect([other.loss, other.correct]).toEqual([sums.loss, sums.correct]);
        await evaluation.activations({ ...input, features });
        expect(bits(sums.logits)).toBe(logits);
        expect([...activations].map(([layer, { data }]) => [layer, bits(data)])).toEqual(kept);
        expect(bits((await evaluation.run(input)).logits)).toBe(logits);
        await evaluation.release();
      },
    );

    test.each((["RGB", "BGR"] as const).filter((channels) => isTrainedBy(name, pixels(channels))))(
      "%s pixels mean the same as the pixels normalised outside",
      async (channels) => {
        const { preprocessing, ...plain } = pixels(channels);
        const input = evaluationInput({ ...plain, preprocessing }, 4, 18);
        const { engine } = engines();
        const [ofPixels, ofFloats] = [
          await engine.compileEvaluation({ ...plain, preprocessing }, 4),
          await engine.compileEvaluation(plain, 4),
        ];
        const features = normalised(input.features as Uint8Array, preprocessing);
        expectClose((await ofPixels.run(input)).logits, (await ofFloats.run({ ...input, features })).logits, 1e-6, "logits");
        await ofPixels.release();
        await ofFloats.release();
      },
    );
  });
}

/** Networks in which every kind of product occurs. */
function samples(name: EngineName): (readonly [string, Trainable])[] {
  const tail = chain(
    "convolutional tail",
    [7, 7, 5],
    [conv(20, [3, 3]), batchNorm, relu6, conv(33, [1, 1]), relu, globalAveragePool, dense(10)],
  );
  const heads = [1, 2, 102].map((classes) =>
    trainableOf(chain(`head of ${classes}`, [512], [{ kind: "dropout", rate: 0.5 }, dense(33), relu, dense(classes)])),
  );
  return [...heads, trainableOf(tail), trainableOf(tail, "BATCH"), pixels("BGR")]
    .filter((trainable) => isTrainedBy(name, trainable))
    .map((trainable) => [nameOf(trainable), trainable] as const);
}

/** As a trainer evaluates: weights of rows are 1, or 0 in padding. */
function evaluationInput(
  trainable: Trainable,
  rows: number,
  seed: number,
): EvaluationInput & { readonly dropoutMasks: readonly Float32Array[] } {
  const input = gradientInput(trainable, { grains: 1, grainRows: rows }, seed);
  return { ...input, rowWeights: input.rowWeights.map((weight) => (weight === 0 ? 0 : 1)) };
}

/** Layers that have weights or are an activation. */
function shownLayers(network: Network): string[] {
  const withWeights = ["conv2d", "depthwiseConv2d", "dense", "batchNorm"];
  const activations = ["relu", "relu6", "sigmoid", "softmax"];
  return network.layers.filter(({ kind }) => [...withWeights, ...activations].includes(kind)).map(({ name }) => name);
}
