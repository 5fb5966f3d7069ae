import type { Optimizer } from "../job/job.js";
import type { Expression, Program, Statement } from "./elementwise.js";

/** The update of one element as a program (elementwise.ts), with the slots that it keeps from step to step. */
export interface OptimizerProgram {
  /** In the order in which they follow parameters (array 0) and summed gradient (array 1). */
  readonly slots: readonly string[];
  readonly program: Program;
  /** Constants of one step, in the program's order. */
  readonly constants: (step: StepFactors) => readonly number[];
}

/** What the constants of a step are made of, in float64; each constant is rounded to float32 once. */
export interface StepFactors {
  /** What a summed gradient is multiplied by: 1 / batch size. */
  readonly gradientScale: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** beta1 and beta2 to the power of the step's number (from 1), as running products; 1 where the optimiser has none. */
  readonly beta1Power: number;
  readonly beta2Power: number;
}

/**
 * Formulas as in Keras 3.15 (keras/src/optimizers), with g = gradientScale x sum, and + weightDecay x w where decay is coupled:
 * - sgd: w -= lr g. With momentum: v = mu v - lr g, w += v. Nesterov: w += mu v - lr g with the new v.
 * - rmsprop: s = rho s + (1 - rho) g g; d = lr g / sqrt(s + epsilon); w -= d. With momentum: v = mu v + d, w -= v.
 * - adam: m += (g - m)(1 - beta1); s += (g g - s)(1 - beta2); w -= m a / (sqrt(s) + epsilon) with a = lr sqrt(1 - beta2^t) / (1 - beta1^t).
 * - adamw: w -= w (lr x weightDecay) first, then adam (Loshchilov and Hutter: "Decoupled weight decay regularization", 2019).
 * PyTorch differs in sgd (the velocity holds no learning rate), rmsprop (epsilon outside the root) and adam (epsilon after the correction).
 */
export function optimizerProgram(optimizer: Optimizer, decays: boolean): OptimizerProgram {
  switch (optimizer.kind) {
    case "sgd":
      return sgd(optimizer.momentum, optimizer.nesterov, decays);
    case "rmsprop":
      return rmsprop(optimizer.decay, optimizer.momentum, optimizer.epsilon, decays);
    case "adam":
    case "adamw":
      return adam(optimizer.beta1, optimizer.beta2, optimizer.epsilon, decays, optimizer.kind === "adamw");
  }
}

/** Names of the slots that an optimiser keeps. */
export function slotNames(optimizer: Optimizer): readonly string[] {
  return optimizerProgram(optimizer, false).slots;
}

const w = element(0);
const SCALE = 0;
const DECAY = 1;
/** Value 0 of every program. */
const g: Expression = { kind: "value", value: 0 };

/** g = scale x sum [+ decay x w]: constants 0 and 1, value 0. */
function gradient(decays: boolean): Statement {
  const scaled = multiply(constant(SCALE), element(1));
  return assign(0, decays ? add(scaled, multiply(constant(DECAY), w)) : scaled);
}

function sgd(momentum: number, nesterov: boolean, decays: boolean): OptimizerProgram {
  const step = multiply(constant(2), g);
  if (momentum === 0) {
    return {
      slots: [],
      program: { arrays: 2, constants: 3, body: [gradient(decays), store(0, subtract(w, step))] },
      constants: (f) => [f.gradientScale, f.weightDecay, f.learningRate],
    };
  }
  const [lrG, v] = [value(1), value(2)];
  const moved = nesterov ? add(w, subtract(multiply(constant(3), v), lrG)) : add(w, v);
  return {
    slots: ["momentum"],
    program: {
      arrays: 3,
      constants: 4,
      body: [gradient(decays), assign(1, step), assign(2, subtract(multiply(constant(3), element(2)), lrG)), store(2, v), store(0, moved)],
    },
    constants: (f) => [f.gradientScale, f.weightDecay, f.learningRate, momentum],
  };
}

function rmsprop(decay: number, momentum: number, epsilon: number, decays: boolean): OptimizerProgram {
  const s = value(1);
  const meanSquare = add(multiply(constant(3), element(2)), multiply(constant(4), multiply(g, g)));
  const delta = divide(multiply(constant(2), g), root(add(s, constant(5))));
  const start = [gradient(decays), assign(1, meanSquare), store(2, s)];
  if (momentum === 0) {
    return {
      slots: ["meanSquare"],
      program: { arrays: 3, constants: 6, body: [...start, store(0, subtract(w, delta))] },
      constants: (f) => [f.gradientScale, f.weightDecay, f.learningRate, decay, 1 - decay, epsilon],
    };
  }
  const v = value(2);
  return {
    slots: ["meanSquare", "momentum"],
    program: {
      arrays: 4,
      constants: 7,
      body: [...start, assign(2, add(multiply(constant(6), element(3)), delta)), store(3, v), store(0, subtract(w, v))],
    },
    constants: (f) => [f.gradientScale, f.weightDecay, f.learningRate, decay, 1 - decay, epsilon, momentum],
  };
}

function adam(beta1: number, beta2: number, epsilon: number, decays: boolean, decoupled: boolean): OptimizerProgram {
  const [m0, m, s0, s] = [value(1), value(2), value(3), value(4)];
  const kept = decoupled && decays ? subtract(w, multiply(w, constant(DECAY))) : w;
  return {
    slots: ["firstMoment", "secondMoment"],
    program: {
      arrays: 4,
      constants: 6,
      body: [
        gradient(decays && !decoupled),
        assign(1, element(2)),
        assign(2, add(m0, multiply(subtract(g, m0), constant(3)))),
        store(2, m),
        assign(3, element(3)),
        assign(4, add(s0, multiply(subtract(multiply(g, g), s0), constant(4)))),
        store(3, s),
        store(0, subtract(kept, divide(multiply(m, constant(2)), add(root(s), constant(5))))),
      ],
    },
    constants: (f) => [
      f.gradientScale,
      decoupled ? f.learningRate * f.weightDecay : f.weightDecay,
      (f.learningRate * Math.sqrt(1 - f.beta2Power)) / (1 - f.beta1Power),
      1 - beta1,
      1 - beta2,
      epsilon,
    ],
  };
}

function element(array: number): Expression {
  return { kind: "element", array };
}

function constant(index: number): Expression {
  return { kind: "constant", constant: index };
}

function value(index: number): Expression {
  return { kind: "value", value: index };
}

function add(left: Expression, right: Expression): Expression {
  return { kind: "add", left, right };
}

function subtract(left: Expression, right: Expression): Expression {
  return { kind: "subtract", left, right };
}

function multiply(left: Expression, right: Expression): Expression {
  return { kind: "multiply", left, right };
}

function divide(left: Expression, right: Expression): Expression {
  return { kind: "divide", left, right };
}

function root(of: Expression): Expression {
  return { kind: "sqrt", of };
}

function assign(index: number, is: Expression): Statement {
  return { kind: "let", value: index, is };
}

function store(array: number, is: Expression): Statement {
  return { kind: "store", array, is };
}
