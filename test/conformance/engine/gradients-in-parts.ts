import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { largeKernels } from "../../../domain/training/large-kernels.js";
import { OptimizerState } from "../../../domain/training/optimizer.js";
import { parameterLayout } from "../../../domain/training/parameters.js";
import type { Engine, GradientInput, Trainable } from "../../../platform/engine/engine.js";
import { expectClose } from "./compare.js";
import { type Engines, run } from "./engines.js";
import { gradientInput } from "./inputs.js";
import { around, chain, conv, dense, flatten, relu } from "./layers.js";
import { pixels, trainableOf } from "./networks.js";

const optimizer = { kind: "rmsprop", learningRate: 0.001, decay: 0.9, momentum: 0.5, epsilon: 1e-7 } as const;

const trainables: readonly Trainable[] = [
  trainableOf(chain("large head", [3, 2, 704], [flatten, dense(1024), relu, dense(3)])),
  trainableOf(chain("large layer behind another", [60], [dense(4200), relu, dense(1024), relu, dense(5000), dense(2)])),
  trainableOf(
    chain("large layer behind a convolution", [3, 3, 2], [conv(468, [3, 3], { padding: around(1) }), relu, flatten, dense(1024), dense(1)]),
  ),
  { ...pixels("RGB"), network: chain("large layer on pixels", [38, 38, 3], [flatten, dense(1024), relu, dense(3)]) },
];

/** What engines promise that hand out the gradients of large kernels in parts. */
export function exerciseGradientsInParts(engines: Engines): void {
  describe("gradients in parts", () => {
    const cases = trainables.flatMap((trainable) => [5, 200].map((rows) => [trainable.network.name, rows, trainable] as const));
    test.each(cases)(
      "%s, %i rows: updates part by part have the bits of updates with the whole gradient, on any number of threads",
      async (_, rows, trainable) => {
        const expected = await withWholeGradient(engines().engine, trainable, rows);
        expect(await inParts(engines().engine, trainable, rows)).toEqual(expected);
        expect(await inParts(engines().single, trainable, rows)).toEqual(expected);
      },
    );

    test("a few rows, whose product with a large kernel is one of blocks, have the losses that they have among many", async () => {
      const [trainable] = trainables;
      const { input } = setup(trainable!, 5);
      const few = await run(engines().engine, trainable!, input, { grainRows: 5, grains: 1 });
      const padded = <T extends Float32Array | Uint8Array | Int32Array>(rows: T): T => {
        const whole = new (rows.constructor as new (length: number) => T)(rows.length * 20);
        whole.set(rows);
        return whole;
      };
      const { features, labels, rowWeights } = input;
      const among = { ...input, features: padded(features), labels: padded(labels), rowWeights: padded(rowWeights) };
      const many = await run(engines().engine, trainable!, among, { grainRows: 100, grains: 1 });
      expect(few.loss).toBeCloseTo(many.loss, 4);
      expect(few.correct).toBe(many.correct);
      expectClose(few.gradient, many.gradient, 1e-4);
    });

    test("parts come in ascending order, and together are the kernel", async () => {
      const [trainable] = trainables;
      const { state, input, kernels } = setup(trainable!, 5);
      const [{ name, offset, length }] = kernels as [(typeof kernels)[number]];
      const gradient = await engines().engine.compileGradientInParts!(trainable!, 5, [name]);
      state.gradient.fill(NaN);
      await gradient.run({ ...input, gradient: state.gradient });
      expect(state.gradient.findIndex((value) => !Number.isNaN(value))).not.toBe(offset);
      const parts: [number, number][] = [];
      const whole = new Float32Array(length);
      const into = state.gradient.subarray(offset, offset + length);
      await gradient.eachPart(name, into, (from, to) => {
        parts.push([from, to]);
        whole.set(into.subarray(0, to - from), from);
      });
      await gradient.release();
      expect(parts.length).toBeGreaterThan(1);
      expect([0, ...parts.map(([, to]) => to)]).toEqual([...parts.map(([from]) => from), length]);
      const all = await engines().engine.compileGradient(trainable!, { grainRows: 5, grains: 1 });
      const sums = await all.run(input);
      expect(digest(whole)).toBe(digest(sums.gradient.subarray(offset, offset + length)));
      await all.release();
    });
  });
}

/** Two steps. */
async function withWholeGradient(engine: Engine, trainable: Trainable, rows: number): Promise<object> {
  const { state, input } = setup(trainable, rows);
  const gradient = await engine.compileGradient(trainable, { grainRows: rows, grains: 1 });
  const losses: number[] = [];
  for (const step of [0, 1]) {
    losses.push((await gradient.run({ ...input, parameters: state.parameters, gradient: state.gradient })).loss);
    state.update(step, optimizer.learningRate, 1 / rows);
  }
  await gradient.release();
  return { losses, ...digests(state) };
}

async function inParts(engine: Engine, trainable: Trainable, rows: number): Promise<object> {
  const { state, input, kernels } = setup(trainable, rows);
  const names = kernels.map(({ name }) => name);
  const gradient = await engine.compileGradientInParts!(trainable, rows, names);
  const update = (step: number, ...range: [from?: number, to?: number, gradientFrom?: number]): void =>
    state.update(step, optimizer.learningRate, 1 / rows, ...range);
  const losses: number[] = [];
  for (const step of [0, 1]) {
    losses.push((await gradient.run({ ...input, parameters: state.parameters, gradient: state.gradient })).loss);
    let rest = 0;
    for (const { name, offset, length } of kernels) {
      await gradient.eachPart(name, state.gradient.subarray(offset, offset + length), (from, to) =>
        update(step, offset + from, offset + to, offset),
      );
      update(step, rest, offset);
      rest = offset + length;
    }
    update(step, rest);
  }
  await gradient.release();
  return { losses, ...digests(state) };
}

interface Setup {
  readonly state: OptimizerState;
  readonly input: GradientInput;
  readonly kernels: ReturnType<typeof largeKernels>;
}

function setup(trainable: Trainable, grainRows: number): Setup {
  const recipe = { optimizer, weightDecay: 0.01, weightDecayExempt: ["*/bias"], learningRateMultipliers: [] };
  const state = new OptimizerState(recipe, parameterLayout(trainable.network));
  const input = gradientInput(trainable, { grains: 1, grainRows }, 21);
  state.parameters.set(input.parameters);
  return { state, input, kernels: largeKernels(trainable.network) };
}

function digests(state: OptimizerState): Record<string, string> {
  return Object.fromEntries([["parameters", state.parameters] as const, ...state.slots].map(([name, vector]) => [name, digest(vector)]));
}

function digest(vector: Float32Array): string {
  return createHash("sha256")
    .update(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength))
    .digest("hex");
}
