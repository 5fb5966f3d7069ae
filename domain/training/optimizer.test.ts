import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Optimizer } from "../job/job.js";
import { randomKey, RandomStream } from "../random.js";
import { OptimizerState, type OptimizerRecipe } from "./optimizer.js";
import type { ParameterLayout } from "./parameters.js";

interface Golden {
  readonly learningRate: number;
  readonly steps: number;
  readonly start: readonly number[];
  readonly cases: readonly {
    readonly name: string;
    readonly optimizer: Optimizer;
    readonly weightDecay: number;
    readonly weights: readonly number[];
  }[];
}
/** Made by test/golden/optimizers.py. */
const golden = JSON.parse(readFileSync(new URL("../../test/golden/optimizers.json", import.meta.url), "utf8")) as Golden;

function layoutOf(lengths: Readonly<Record<string, number>>): ParameterLayout {
  let offset = 0;
  const entries = Object.entries(lengths).map(([name, length]) => ({ name, shape: [length], offset: (offset += length) - length, length }));
  return { entries, length: offset };
}

function recipe(optimizer: Optimizer, changes: Partial<OptimizerRecipe> = {}): OptimizerRecipe {
  return { optimizer, weightDecay: 0, weightDecayExempt: [], learningRateMultipliers: [], ...changes };
}

describe("200 steps agree with Keras", () => {
  test.each(golden.cases)("$name", ({ optimizer, weightDecay, weights }) => {
    const state = new OptimizerState(recipe(optimizer, { weightDecay }), layoutOf({ "head/output/kernel": golden.start.length }));
    state.parameters.set(golden.start);
    for (let step = 0; step < golden.steps; step++) {
      state.parameters.forEach((w, i) => (state.gradient[i] = 2 * (Math.sin(0.7 * i + 0.05 * step) + 0.3 * w)));
      state.update(step, golden.learningRate, 0.5);
    }
    state.parameters.forEach((w, i) =>
      expect(Math.abs(w - (weights[i] ?? NaN)), `weight ${i}: ${w}, expected ${weights[i]}`).toBeLessThan(5e-6),
    );
  });
});

const f = Math.fround;
/** The formulas of optimizer-programs.ts once more in plain JavaScript, one rounding an operation: the kernels must give the same bits. */
const plain: Record<
  string,
  (optimizer: Optimizer, w: number, g: number, s: Float32Array[], i: number, lr: number, decay: number, t: number) => number
> = {
  sgd(optimizer, w, g, [v], i, lr) {
    if (optimizer.kind !== "sgd" || v === undefined) return f(w - f(f(lr) * g));
    const mu = f(optimizer.momentum);
    v[i] = f(f(mu * v[i]!) - f(f(lr) * g));
    return optimizer.nesterov ? f(w + f(f(mu * v[i]) - f(f(lr) * g))) : f(w + v[i]);
  },
  rmsprop(optimizer, w, g, [s, v], i, lr) {
    if (optimizer.kind !== "rmsprop" || s === undefined) throw new Error("not rmsprop");
    s[i] = f(f(f(optimizer.decay) * s[i]!) + f(f(1 - optimizer.decay) * f(g * g)));
    const delta = f(f(f(lr) * g) / f(Math.sqrt(f(s[i] + f(optimizer.epsilon)))));
    if (v === undefined) return f(w - delta);
    v[i] = f(f(f(optimizer.momentum) * v[i]!) + delta);
    return f(w - v[i]);
  },
  adam(optimizer, w, g, [m, s], i, lr, decay, t) {
    if ((optimizer.kind !== "adam" && optimizer.kind !== "adamw") || m === undefined || s === undefined) throw new Error("not adam");
    let [power1, power2] = [1, 1];
    for (let k = 0; k < t; k++) [power1, power2] = [power1 * optimizer.beta1, power2 * optimizer.beta2];
    const alpha = f((lr * Math.sqrt(1 - power2)) / (1 - power1));
    m[i] = f(m[i]! + f(f(g - m[i]!) * f(1 - optimizer.beta1)));
    s[i] = f(s[i]! + f(f(f(g * g) - s[i]!) * f(1 - optimizer.beta2)));
    const kept = optimizer.kind === "adamw" && decay !== 0 ? f(w - f(w * f(lr * decay))) : w;
    return f(kept - f(f(m[i] * alpha) / f(f(Math.sqrt(s[i])) + f(optimizer.epsilon))));
  },
};

describe("one rounding an operation, with decay, exemptions and multipliers, in any division into ranges", () => {
  const layout = layoutOf({
    "block/conv/kernel": 37,
    "head/dense_1/bias": 5,
    "head/dense_1/kernel": 101,
    "head/output/bias": 3,
    "head/output/kernel": 30,
  });
  test.each(golden.cases.filter(({ name }) => !name.includes("decay")))("$name", ({ optimizer }) => {
    const changes = {
      weightDecay: 0.02,
      weightDecayExempt: ["*/bias"],
      learningRateMultipliers: [
        { layers: "head/output", factor: 3 },
        { layers: "head/*", factor: 10 },
      ],
    };
    const whole = new OptimizerState(recipe(optimizer, changes), layout);
    const divided = new OptimizerState(recipe(optimizer, changes), layout);
    const stream = new RandomStream(randomKey(3, "optimizer test"));
    const expected = whole.parameters.map(() => stream.normal());
    const slots = [...whole.slots].map(() => new Float32Array(layout.length));
    whole.parameters.set(expected);
    divided.parameters.set(expected);
    for (let step = 0; step < 20; step++) {
      const gradient = expected.map(() => 96 * stream.normal());
      const lr = 0.01 / (1 + step);
      whole.gradient.set(gradient);
      whole.update(step, lr, 1 / 96);
      divided.gradient.set(gradient);
      const cuts = [0, ...[1, 2, 3].map(() => stream.below(layout.length)).sort((a, b) => a - b), layout.length];
      for (let k = 1; k < cuts.length; k++) divided.update(step, lr, 1 / 96, cuts[k - 1], cuts[k]);
      for (const { name, offset, length } of layout.entries) {
        const decay = name.endsWith("/bias") ? 0 : 0.02;
        const factor = name.startsWith("head/output") ? 3 : name.startsWith("head/") ? 10 : 1;
        for (let i = offset; i < offset + length; i++) {
          const scaled = f(f(1 / 96) * gradient[i]!);
          const g = decay === 0 || optimizer.kind === "adamw" ? scaled : f(scaled + f(f(decay) * expected[i]!));
          expected[i] = plain[optimizer.kind === "adamw" ? "adam" : optimizer.kind]!(
            optimizer,
            expected[i]!,
            g,
            slots,
            i,
            lr * factor,
            decay,
            step + 1,
          );
        }
      }
      expect(whole.parameters).toEqual(expected);
    }
    expect([...whole.slots.values()]).toEqual(slots);
    expect(divided.parameters).toEqual(whole.parameters);
    expect(divided.slots).toEqual(whole.slots);
  });
});

test("a step reached by a resume has the bits of one reached step by step", () => {
  const optimizer: Optimizer = { kind: "adam", learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };
  const layout = layoutOf({ "head/output/kernel": 9 });
  const [straight, resumed] = [new OptimizerState(recipe(optimizer), layout), new OptimizerState(recipe(optimizer), layout)];
  for (let step = 0; step < 30; step++) {
    straight.gradient.fill(step - 7.3);
    straight.update(step, 0.01, 1);
    if (step === 19) {
      resumed.parameters.set(straight.parameters);
      for (const [name, slot] of straight.slots) resumed.slots.get(name)!.set(slot);
      resumed.update(3, 0.01, 1, 0, 0); // going back must work too
    } else if (step > 19) {
      resumed.gradient.fill(step - 7.3);
      resumed.update(step, 0.01, 1);
    }
  }
  expect(resumed.parameters).toEqual(straight.parameters);
});

test("an empty vector and one that needs more than 4 GiB", () => {
  const optimizer: Optimizer = { kind: "sgd", learningRate: 0.01, momentum: 0, nesterov: false };
  new OptimizerState(recipe(optimizer), layoutOf({})).update(0, 0.01, 1);
  expect(() => new OptimizerState(recipe(optimizer), layoutOf({ "head/output/kernel": 600_000_000 }))).toThrow(/at most 4 GiB/u);
});
