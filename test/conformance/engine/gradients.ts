import { describe, expect, test } from "vitest";
import type { Preprocessing } from "../../../domain/network/preprocessing.js";
import type { LossSpec } from "../../../domain/training/loss.js";
import { parameterLayout } from "../../../domain/training/parameters.js";
import type { EngineName } from "../../../domain/training/trainable-layers.js";
import type { GradientInput, GradientShape, Trainable } from "../../../platform/engine/engine.js";
import { referencePixels } from "../../support/reference-network.js";
import { referenceGradient, referenceSums, type ReferenceSums } from "../../support/reference-training.js";
import { expectClose, expectTensors, expectWithin, largestOf } from "./compare.js";
import { type Engines, isTrainedBy, run, trainedBy } from "./engines.js";
import { gradientInput } from "./inputs.js";
import { batchNorm, chain, dense, relu, relu6 } from "./layers.js";
import { nameOf, pixels, trainableOf } from "./networks.js";

/** Loss, gradient and batch statistics of every kind of layer, against float64 and finite differences. */
export function exerciseGradients(name: EngineName, engines: Engines): void {
  describe("gradient", () => {
    const shape = { grains: 2, grainRows: 4 };
    test.each(trainedBy(name).map((trainable) => [nameOf(trainable), trainable] as const))("%s", async (_, trainable) => {
      const input = gradientInput(trainable, shape, 13);
      const hasKinks = trainable.network.layers.some(({ kind }) => kind === "relu6");
      await expectAsReference(engines, trainable, hasKinks ? reachingAbove6(trainable, input) : input, shape);
    });

    const losses: LossSpec[] = [
      { kind: "softmax", labelSmoothing: 0 },
      { kind: "softmax", labelSmoothing: 0.1 },
      { kind: "sigmoid", labelSmoothing: 0 },
      { kind: "sigmoid", labelSmoothing: 0.2 },
    ];
    test.each(losses)("loss $kind, smoothing $labelSmoothing", async (loss) => {
      const network = chain("losses", [5], [dense(7), relu, dense(loss.kind === "sigmoid" ? 1 : 4)]);
      const trainable = trainableOf(network, "FROZEN", loss);
      await expectAsReference(engines, trainable, gradientInput(trainable, shape, 17), shape);
    });

    const oneRow = trainableOf(chain("batch norm", [4], [dense(6), batchNorm, relu, dense(3)]), "BATCH");
    test.each([oneRow].filter((trainable) => isTrainedBy(name, trainable)))(
      "$network.name over a grain of one row: variance 0, and nothing is handed down",
      async (trainable) => {
        const alone = { grains: 2, grainRows: 2 };
        const input = gradientInput(trainable, alone, 18);
        expect([...input.rowWeights].map((weight) => weight > 0)).toEqual([true, false, true, true]);
        await expectAsReference(engines, trainable, input, alone);
      },
    );

    test("relu at 0 and relu6 at 0 and at 6 hand nothing down, as in TensorFlow and PyTorch", async () => {
      for (const [kind, at, slope] of [
        [relu, 0, 0],
        [relu, 1, 1],
        [relu6, 0, 0],
        [relu6, 5, 1],
        [relu6, 6, 0],
      ] as const) {
        const trainable = trainableOf(chain("kink", [1], [dense(1), kind, dense(1)]), "FROZEN", { labelSmoothing: 0 });
        const input: GradientInput = {
          // Bias and kernel of the lower layer, then of the upper one.
          parameters: Float32Array.of(at - 1, 1, 0, 1),
          statistics: new Float32Array(0),
          features: Float32Array.of(1, 1),
          labels: Int32Array.of(0, 0),
          rowWeights: Float32Array.of(1, 1),
          dropoutMasks: [],
        };
        const { gradient } = await run(engines().engine, trainable, input, { grains: 1, grainRows: 2 });
        const ofLower = (2 * slope) / (1 + Math.exp(-at));
        expectClose(gradient.subarray(0, 2), [ofLower, ofLower], 1e-6, `${kind.kind} at ${at}`);
      }
    });

    test.each((["RGB", "BGR"] as const).filter((channels) => isTrainedBy(name, pixels(channels))))(
      "%s pixels train as the same pixels do that are normalised outside",
      async (channels) => {
        const trainable = pixels(channels);
        const input = gradientInput(trainable, shape, 19);
        await expectAsReference(engines, trainable, input, shape);
        const { preprocessing, ...plain } = trainable;
        const features = normalised(input.features as Uint8Array, preprocessing);
        const { engine } = engines();
        const found = await run(engine, trainable, input, shape);
        const expected = await run(engine, plain, { ...input, features }, shape);
        expectClose([found.loss], [expected.loss], 1e-6, "loss");
        expectWithin(found.gradient, expected.gradient, 1e-6 * largestOf(expected.gradient), "gradient");
      },
    );
  });
}

/** Pixels as a caller of an engine would normalise them, in float32. */
export function normalised(bytes: Uint8Array, preprocessing: Preprocessing): Float32Array {
  return Float32Array.from(referencePixels(bytes, preprocessing));
}

/** Values large enough that each relu6 has some on both sides of 6; statistics of the batch take away the size of what enters, not that of gamma. */
function reachingAbove6(trainable: Trainable, input: GradientInput): GradientInput {
  const parameters = input.parameters.slice();
  for (const { name, offset, length } of parameterLayout(trainable.network).entries)
    if (trainable.batchNorm === "BATCH" && name.endsWith("/gamma"))
      for (let i = offset; i < offset + length; i++) parameters[i] = (parameters[i] as number) * 3;
  return { ...input, parameters, features: input.features.map((value) => value * 4) };
}

async function expectAsReference(engines: Engines, trainable: Trainable, input: GradientInput, shape: GradientShape): Promise<void> {
  const expected = referenceSums(trainable, input, shape.grainRows);
  expectBothSidesOfKinks(trainable, expected);
  const found = await run(engines().engine, trainable, input, shape);
  expectClose([found.loss], [expected.loss], 1e-5, "loss");
  expect(found.correct).toBe(expected.correct);
  expectClose(found.statistics, expected.statistics, 1e-5, "statistics");
  expectTensors(parameterLayout(trainable.network), found.gradient, referenceGradient(trainable, input, shape.grainRows));
}

/** What finite differences say of a network with relu6 says something of values below 0, between and above 6 only where there are such. */
function expectBothSidesOfKinks({ network }: Trainable, { activations }: ReferenceSums): void {
  const layers = network.layers.filter(({ kind }) => kind === "relu6");
  if (layers.length === 0) return;
  const values = layers.flatMap(({ name }) => activations.get(name) ?? []).flatMap((row) => [...row]);
  for (const part of [values.filter((v) => v === 0), values.filter((v) => v > 0 && v < 6), values.filter((v) => v === 6)])
    expect(part.length, "values of relu6 layers on each side of its kinks").toBeGreaterThan(0);
}
