import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Optimizer } from "../../../domain/job/job.js";
import { largeKernels } from "../../../domain/training/large-kernels.js";
import { OptimizerState } from "../../../domain/training/optimizer.js";
import { parameterLayout } from "../../../domain/training/parameters.js";
import type { Engine, GradientInput, Trainable } from "../../../platform/engine/engine.js";
import type { Engines } from "./engines.js";
import { gradientInput, randoms } from "./inputs.js";
import { around, chain, conv, dense, flatten, relu } from "./layers.js";
import { pixels, trainableOf } from "./networks.js";

const moments = { learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };
const optimizers: readonly (readonly [string, Optimizer])[] = [
  ["sgd", { kind: "sgd", learningRate: 0.01, momentum: 0, nesterov: false }],
  ["sgd with momentum", { kind: "sgd", learningRate: 0.01, momentum: 0.9, nesterov: false }],
  ["sgd with Nesterov momentum", { kind: "sgd", learningRate: 0.01, momentum: 0.9, nesterov: true }],
  ["rmsprop", { kind: "rmsprop", learningRate: 0.001, decay: 0.9, momentum: 0, epsilon: 1e-7 }],
  ["rmsprop with momentum", { kind: "rmsprop", learningRate: 0.001, decay: 0.9, momentum: 0.5, epsilon: 1e-7 }],
  ["adam", { kind: "adam", ...moments }],
  ["adamw", { kind: "adamw", ...moments }],
];
const rmsprop = optimizers[3]![1];

const grainRows = 5;
/** Two calls, the second of few rows. */
const head = chain("large head", [3, 2, 700], [flatten, dense(1024), relu, dense(3)]);
const others: readonly Trainable[] = [
  trainableOf(chain("large layer behind another", [60], [dense(4200), relu, dense(1024), relu, dense(5000), dense(2)])),
  trainableOf(
    chain("large layer behind a convolution", [3, 3, 2], [conv(468, [3, 3], { padding: around(1) }), relu, flatten, dense(1024), dense(1)]),
  ),
  { ...pixels("RGB"), network: chain("large layer on pixels", [38, 38, 3], [flatten, dense(1024), relu, dense(3)]) },
];

/** What engines promise that move large kernels themselves. */
export function exerciseSteps(engines: Engines): void {
  describe("steps", () => {
    test.each(
      optimizers.flatMap(([name, optimizer]) => [0, 0.01].map((decay) => [`${name}, weight decay ${decay}`, optimizer, decay] as const)),
    )("%s: kernels that the engine moves have the bits of an update outside", async (_, optimizer, decay) => {
      await expectSameBits(engines().engine, trainableOf(head), optimizer, decay);
    });

    test.each(others.map((trainable) => [trainable.network.name, trainable] as const))("%s: the same", async (_, trainable) => {
      await expectSameBits(engines().engine, trainable, rmsprop, 0.01);
    });

    test("any number of threads has the same bits", async () => {
      const [, trainable] = others;
      const [two, one] = [engines().engine, engines().single];
      for (const each of [trainableOf(head), trainable!]) {
        const [first, second] = [await inEngine(two, each, rmsprop, 0), await inEngine(one, each, rmsprop, 0)];
        expect(first).toEqual(second);
      }
    });

    test("between run and update nothing has changed", async () => {
      const trainable = trainableOf(head);
      const { state, input, large } = setup(trainable, rmsprop, 0);
      const before = digests(state);
      const step = await engines().engine.compileStep!(
        trainable,
        grainRows,
        large.map((entry) => state.tensorUpdate(entry)),
      );
      await step.run({ ...input, parameters: state.parameters, gradient: state.gradient });
      expect(digests(state)).toEqual(before);
      await step.update(large[0]!.name, state.tensorConstants(large[0]!, 0, 0.01, 1));
      expect(digests(state)).not.toEqual(before);
      await step.release();
    });
  });
}

async function expectSameBits(engine: Engine, trainable: Trainable, optimizer: Optimizer, decay: number): Promise<void> {
  const found = await inEngine(engine, trainable, optimizer, decay);
  const { state, input } = setup(trainable, optimizer, decay);
  const gradient = await engine.compileGradient(trainable, { grainRows, grains: 1 });
  const losses: number[] = [];
  for (const step of [0, 1]) {
    losses.push((await gradient.run({ ...input, parameters: state.parameters, gradient: state.gradient })).loss);
    state.update(step, optimizer.learningRate, 1 / grainRows);
  }
  await gradient.release();
  expect(found).toEqual({ losses, ...digests(state) });
}

/** Two steps with the large kernels moved by the engine. */
async function inEngine(engine: Engine, trainable: Trainable, optimizer: Optimizer, decay: number): Promise<object> {
  const { state, input, large } = setup(trainable, optimizer, decay);
  const session = await engine.compileStep!(
    trainable,
    grainRows,
    large.map((entry) => state.tensorUpdate(entry)),
  );
  const losses: number[] = [];
  for (const step of [0, 1]) {
    losses.push((await session.run({ ...input, parameters: state.parameters, gradient: state.gradient })).loss);
    for (const entry of large) await session.update(entry.name, state.tensorConstants(entry, step, optimizer.learningRate, 1 / grainRows));
    let from = 0;
    for (const { offset, length } of large) {
      state.update(step, optimizer.learningRate, 1 / grainRows, from, offset);
      from = offset + length;
    }
    state.update(step, optimizer.learningRate, 1 / grainRows, from);
  }
  await session.release();
  return { losses, ...digests(state) };
}

/** Of every size that a float32 has, subnormal numbers included. */
const anySize = randoms(8191, 22).map((value) => Math.sign(value) * 10 ** (Math.abs(value) * 82 - 44));

function setup(
  trainable: Trainable,
  optimizer: Optimizer,
  weightDecay: number,
): { readonly state: OptimizerState; readonly input: GradientInput; readonly large: ReturnType<typeof largeKernels> } {
  const recipe = { optimizer, weightDecay, weightDecayExempt: ["*/bias"], learningRateMultipliers: [] };
  const state = new OptimizerState(recipe, parameterLayout(trainable.network));
  const input = gradientInput(trainable, { grains: 1, grainRows }, 21);
  state.parameters.set(input.parameters);
  for (const [name, slot] of state.slots) {
    const values = name === "momentum" || name === "firstMoment" ? anySize : anySize.map(Math.abs);
    for (let at = 0; at < slot.length; at += values.length) slot.set(values.subarray(0, slot.length - at), at);
  }
  return { state, input, large: largeKernels(trainable.network) };
}

function digests(state: OptimizerState): Record<string, string> {
  const vectors = [["parameters", state.parameters] as const, ...state.slots];
  return Object.fromEntries(
    vectors.map(([name, vector]) => [
      name,
      createHash("sha256")
        .update(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength))
        .digest("hex"),
    ]),
  );
}
