import { describe, expect, test } from "vitest";
import { elementCount, type Network } from "../../../domain/network/network.js";
import type { EngineName } from "../../../domain/training/trainable-layers.js";
import type { GradientInput, GradientSums, Trainable } from "../../../platform/engine/engine.js";
import { bits } from "./compare.js";
import { type Engines, isTrainedBy, run, sumInCallsOf } from "./engines.js";
import { gradientInput, randoms } from "./inputs.js";
import { around, batchNorm, chain, conv, dense, depthwise, globalAveragePool, relu, relu6 } from "./layers.js";
import { pixels, trainableOf } from "./networks.js";

/** What holds bit for bit: the same sums however grains are shared out, whatever stands in padding, from call to call. */
export function exerciseGrains(name: EngineName, engines: Engines): void {
  describe("grains", () => {
    const heads = [
      ...[1, 2, 5, 10, 102, 1000].map((classes) => ({ features: 1280, hidden: [] as number[], classes, grainRows: 12 })),
      ...[2, 4, 13, 32].map((grainRows) => ({ features: 512, hidden: [], classes: 102, grainRows })),
      ...[3, 7].map((grainRows) => ({ features: 512, hidden: [], classes: 1, grainRows })),
      ...[1, 3, 10, 1000].map((classes) => ({ features: 7, hidden: [], classes, grainRows: 4 })),
      ...[1, 5, 102].map((classes) => ({ features: 512, hidden: [33], classes, grainRows: 13 })),
      { features: 1280, hidden: [128, 1], classes: 2, grainRows: 12 },
      { features: 7, hidden: [5, 129], classes: 10, grainRows: 2 },
      { features: 1, hidden: [], classes: 2, grainRows: 3 },
      { features: 40, hidden: [24], classes: 6, grainRows: 300 },
    ];
    test.each(heads)(
      "$features -> $hidden -> $classes, grains of $grainRows rows: 1, 2, 4 and 8 grains a call have the same bits",
      async ({ features, hidden, classes, grainRows }) => {
        await expectSameBitsInAnyCalls(engines, head(features, hidden, classes), grainRows);
      },
    );

    const tails = [
      { trainable: trainableOf(tail([7, 7, 24], 48)), grainRows: 4 },
      { trainable: trainableOf(tail([7, 7, 24], 48), "BATCH"), grainRows: 4 },
      { trainable: trainableOf(tail([12, 9, 3], 10), "BATCH"), grainRows: 5 },
      {
        trainable: trainableOf(chain("batch norm on vectors", [64], [dense(33, false), batchNorm, relu, dense(5)]), "BATCH"),
        grainRows: 2,
      },
      { trainable: pixels("BGR"), grainRows: 3 },
    ].map((each) => [`${each.trainable.network.name}, ${each.trainable.batchNorm}`, each] as const);
    test.each(tails.filter(([, { trainable }]) => isTrainedBy(name, trainable)))(
      "%s: 1, 2, 4 and 8 grains a call have the same bits",
      async (_, { trainable, grainRows }) => {
        await expectSameBitsInAnyCalls(engines, trainable, grainRows);
      },
    );

    const shape = { grains: 2, grainRows: 6 };
    const samples = [head(64, [16], 5), trainableOf(tail([7, 7, 3], 8)), trainableOf(tail([7, 7, 3], 8), "BATCH")].filter((trainable) =>
      isTrainedBy(name, trainable),
    );
    const named = samples.map((trainable) => [`${trainable.network.name}, ${trainable.batchNorm}`, trainable] as const);

    test.each(named)("%s: what stands in rows of weight 0 changes nothing", async (_, trainable) => {
      const input = gradientInput(trainable, shape, 12);
      const expected = await run(engines().engine, trainable, input, shape);
      for (const scale of [0, 1, 1000]) {
        const found = await run(engines().engine, trainable, withOtherPadding(trainable, input, scale), shape);
        expectSameBits(found, expected);
      }
    });

    test.each(named)("%s: the gradient goes where it is asked to go, from call to call, with the same bits", async (_, trainable) => {
      const input = gradientInput(trainable, shape, 13);
      const expected = await run(engines().engine, trainable, input, shape);
      const gradient = await engines().engine.compileGradient(trainable, shape);
      const { length } = expected.gradient;
      for (const target of [new Float32Array(length), new Float32Array(length + 3).subarray(3)]) {
        const sums = await gradient.run({ ...input, gradient: target });
        expect(sums.gradient).toBe(target);
        expectSameBits(sums, expected);
        // The next call, on other rows, writes elsewhere.
        await gradient.run(gradientInput(trainable, shape, 14));
        expect(bits(target)).toBe(bits(expected.gradient));
        expect(Object.is(sums.loss, expected.loss)).toBe(true);
      }
      expectSameBits(await gradient.run(input), expected);
      await gradient.release();
    });

    test.each(named)("%s: other values in the same arrays are seen by the next call", async (_, trainable) => {
      const input = gradientInput(trainable, shape, 15);
      const other = gradientInput(trainable, shape, 16);
      const expected = await run(engines().engine, trainable, other, shape);
      const gradient = await engines().engine.compileGradient(trainable, shape);
      await gradient.run(input);
      input.parameters.set(other.parameters);
      input.statistics.set(other.statistics);
      input.features.set(other.features);
      input.labels.set(other.labels);
      input.rowWeights.set(other.rowWeights);
      input.dropoutMasks.forEach((mask, i) => mask.set(other.dropoutMasks[i] ?? []));
      expectSameBits(await gradient.run(input), expected);
      await gradient.release();
    });
  });
}

async function expectSameBitsInAnyCalls(engines: Engines, trainable: Trainable, grainRows: number): Promise<void> {
  const { engine, single } = engines();
  const input = gradientInput(trainable, { grains: 8, grainRows }, 11);
  const expected = await sumInCallsOf(8, engine, trainable, input, grainRows);
  expect(expected.gradient.some((value) => value !== 0)).toBe(true);
  for (const grains of [8, 4, 2, 1]) expectSameBits(await sumInCallsOf(grains, engine, trainable, input, grainRows), expected);
  if (JSON.stringify(single.gradientProfile) === JSON.stringify(engine.gradientProfile))
    expectSameBits(await sumInCallsOf(8, single, trainable, input, grainRows), expected);
}

function expectSameBits(found: GradientSums, expected: GradientSums): void {
  expect(bits(found.gradient)).toBe(bits(expected.gradient));
  expect(bits(found.statistics)).toBe(bits(expected.statistics));
  expect(Object.is(found.loss, expected.loss), `loss ${found.loss} and ${expected.loss}`).toBe(true);
  expect(found.correct).toBe(expected.correct);
}

/** The same call with other features, masks and labels in the rows of weight 0. */
function withOtherPadding({ network }: Trainable, input: GradientInput, scale: number): GradientInput {
  const width = elementCount(network.inputShape);
  const other = {
    ...input,
    features: input.features.slice(),
    labels: input.labels.slice(),
    dropoutMasks: input.dropoutMasks.map((mask) => mask.slice()),
  };
  input.rowWeights.forEach((weight, row) => {
    if (weight !== 0) return;
    other.features.set(
      randoms(width, 100 + row).map((value) => value * scale),
      row * width,
    );
    other.labels[row] = -7;
    for (const mask of other.dropoutMasks) {
      const units = mask.length / input.labels.length;
      mask.fill(2, row * units, (row + 1) * units);
    }
  });
  return other;
}

function head(features: number, hidden: readonly number[], classes: number): Trainable {
  const kinds = hidden.flatMap((units) => [{ kind: "dropout", rate: 0.5 } as const, dense(units), relu]);
  return trainableOf(chain(`head of ${classes}`, [features], [...kinds, dense(classes)]));
}

/** What fine-tuning trains, in small: convolutions with batch norm, dropout on a map and a dense layer. */
function tail(inputShape: readonly number[], filters: number): Network {
  return chain(`tail on [${inputShape.join(", ")}]`, inputShape, [
    conv(filters, [1, 1]),
    batchNorm,
    relu6,
    depthwise([3, 3], { strides: [2, 2], padding: around(1) }),
    { ...batchNorm, scale: false },
    relu,
    { kind: "dropout", rate: 0.25 },
    conv(filters + 1, [3, 3], { padding: around(1), bias: true }),
    relu,
    globalAveragePool,
    dense(5),
  ]);
}
