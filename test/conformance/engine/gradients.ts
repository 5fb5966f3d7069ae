import { describe, expect, test } from "vitest";
import type { Preprocessing } from "../../../domain/network/preprocessing.js";
import type { LossSpec } from "../../../domain/training/loss.js";
import { parameterLayout } from "../../../domain/training/parameters.js";
import type { EngineName } from "../../../domain/training/trainable-layers.js";
import type { GradientInput, GradientSums, Trainable } from "../../../platform/engine/engine.js";
import { referencePixels } from "../../support/reference-network.js";
import { referenceGradient, referenceSums, type ReferenceSums } from "../../support/reference-training.js";
import { expectClose, expectWithin, largestOf } from "./compare.js";
import { type Engines, isTrainedBy, run, trainedBy } from "./engines.js";
import { gradientInput } from "./inputs.js";
import { chain, dense, relu, relu6 } from "./layers.js";
import { nameOf, pixels, trainableOf } from "./networks.js";

const shape = { grains: 2, grainRows: 4 };

/** Loss, gradient and batch statistics of every kind of layer, against float64 and finite differences. */
export function exerciseGradients(name: EngineName, engines: Engines): void {
  describe("gradient", () => {
    test.each(trainedBy(name).map((trainable) => [nameOf(trainable), trainable] as const))("%s", async (_, trainable) => {
      const input = gradientInput(trainable, shape, 13);
      // Large enough that each relu6 has values on both sides of 6.
      const reach = trainable.network.layers.some(({ kind }) => kind === "relu6") ? 4 : 1;
      await expectAsReference(engines, trainable, { ...input, features: input.features.map((value) => value * reach) });
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
      await expectAsReference(engines, trainable, gradientInput(trainable, shape, 17));
    });

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
        await expectAsReference(engines, trainable, input);
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

async function expectAsReference(engines: Engines, trainable: Trainable, input: GradientInput): Promise<void> {
  const expected = referenceSums(trainable, input, shape.grainRows);
  expectBothSidesOfKinks(trainable, expected);
  const found = await run(engines().engine, trainable, input, shape);
  expectClose([found.loss], [expected.loss], 1e-5, "loss");
  expect(found.correct).toBe(expected.correct);
  expectClose(found.statistics, expected.statistics, 1e-5, "statistics");
  expectGradient(trainable, found, referenceGradient(trainable, input, shape.grainRows));
}

/** What finite differences say about a relu6 holds for values below 0, between and above 6 only where there are such. */
function expectBothSidesOfKinks({ network }: Trainable, { activations }: ReferenceSums): void {
  for (const { name, kind } of network.layers) {
    if (kind !== "relu6") continue;
    const values = (activations.get(name) ?? []).flatMap((row) => [...row]);
    for (const part of [values.filter((v) => v === 0), values.filter((v) => v > 0 && v < 6), values.filter((v) => v === 6)])
      expect(part.length, `values of ${name} on each side`).toBeGreaterThan(0);
  }
}

/** Each tensor within 1e-4 of its largest slope; or of a tenth of the largest of all, below which rounding shows (a bias below batch norm has no slope at all). */
function expectGradient(trainable: Trainable, { gradient }: GradientSums, expected: Float64Array): void {
  const layout = parameterLayout(trainable.network);
  expect(gradient.length).toBe(layout.length);
  for (const { name, offset, length } of layout.entries) {
    const slopes = expected.subarray(offset, offset + length);
    const scale = Math.max(largestOf(slopes), 0.1 * largestOf(expected));
    expectWithin(gradient.subarray(offset, offset + length), slopes, 1e-4 * scale, `gradient of ${name}`);
  }
}
