import type { Optimizer, Recipe } from "../job/job.js";
import { compileKernel, kernelMemory, type Kernel, type WebAssemblyMemory } from "./elementwise.js";
import { optimizerProgram, slotNames, type OptimizerProgram } from "./optimizer-programs.js";
import type { ParameterLayout } from "./parameters.js";
import { matchesTensor } from "./pattern.js";

export type OptimizerRecipe = Pick<Recipe, "optimizer" | "weightDecay" | "weightDecayExempt" | "learningRateMultipliers">;

/** The gradient's number among a program's arrays. */
const GRADIENT = 1;

/** Neighbouring tensors with the same treatment. */
interface Segment {
  readonly from: number;
  readonly to: number;
  readonly learningRateFactor: number;
  readonly weightDecay: number;
}

/**
 * Parameters, slots and gradient of one training in one memory, and the update that moves them in place (formulas: optimizer-programs.ts).
 * The same bits for any division of the vector into ranges: every element is updated alone, in float32, with one rounding an operation.
 */
export class OptimizerState {
  /** The trained vector; give it its initial values. Stays the same view for good. */
  readonly parameters: Float32Array;
  /** Where the caller puts the summed gradient before `update`: the beginning of `sums`. */
  readonly gradient: Float32Array;
  /** `[layout.length + counters]`: the gradient and, behind it, what else is summed with it. */
  readonly sums: Float32Array;
  /** What else a checkpoint must hold, by name; zeros at the start. */
  readonly slots: ReadonlyMap<string, Float32Array>;

  readonly #segments: readonly Segment[];
  readonly #optimizer: Optimizer;
  readonly #addresses: readonly number[];
  readonly #plain: CompiledProgram;
  readonly #decaying: CompiledProgram | undefined;
  #powers = { step: -1, beta1: 1, beta2: 1 };

  /** `counters`: values that are summed together with the gradient and no part of it. */
  constructor(recipe: OptimizerRecipe, layout: ParameterLayout, counters = 0) {
    const names = slotNames(recipe.optimizer);
    const stride = Math.ceil((layout.length + counters) / 16) * 64; // bytes; every vector begins on a cache line
    const memory = kernelMemory(stride * (2 + names.length));
    const vectors = Array.from(
      { length: 2 + names.length },
      (_, vector) => new Float32Array(memory.buffer, vector * stride, layout.length),
    );
    const [parameters, gradient, ...slots] = vectors as [Float32Array, Float32Array, ...Float32Array[]];
    this.parameters = parameters;
    this.gradient = gradient;
    this.sums = new Float32Array(memory.buffer, gradient.byteOffset, layout.length + counters);
    this.slots = new Map(names.map((name, slot) => [name, slots[slot] as Float32Array]));
    this.#addresses = vectors.map((vector) => vector.byteOffset);
    this.#optimizer = recipe.optimizer;
    this.#segments = segmentsOf(recipe, layout);
    this.#plain = compile(recipe.optimizer, false, memory);
    this.#decaying = this.#segments.some((segment) => segment.weightDecay !== 0) ? compile(recipe.optimizer, true, memory) : undefined;
  }

  /**
   * One update of the elements [from, to), by default all. `step` counts from 0; `gradientScale` is 1 / batch size, so that `gradient` may hold sums. `gradientFrom`: where in `gradient` that of element
   * `from` stands, by default in its own place.
   * A pure function of vectors, step and learning rate.
   */
  update(step: number, learningRate: number, gradientScale: number, from = 0, to = this.parameters.length, gradientFrom = from): void {
    this.#advanceTo(step);
    for (const segment of this.#segments) {
      const start = Math.max(from, segment.from);
      const end = Math.min(to, segment.to);
      if (start >= end) continue;
      const { kernel, constants } = segment.weightDecay === 0 || this.#decaying === undefined ? this.#plain : this.#decaying;
      kernel(
        end - start,
        this.#addresses.map((address, array) => address + 4 * (array === GRADIENT ? start - from + gradientFrom : start)),
        constants({
          gradientScale,
          learningRate: learningRate * segment.learningRateFactor,
          weightDecay: segment.weightDecay,
          beta1Power: this.#powers.beta1,
          beta2Power: this.#powers.beta2,
        }),
      );
    }
  }

  /** Running products instead of powers: the same bits whether a step is reached from the one before or after a resume. */
  #advanceTo(step: number): void {
    if (step < this.#powers.step) this.#powers = { step: -1, beta1: 1, beta2: 1 };
    const { beta1, beta2 } = "beta1" in this.#optimizer ? this.#optimizer : { beta1: 1, beta2: 1 };
    while (this.#powers.step < step) {
      this.#powers.step += 1;
      this.#powers.beta1 *= beta1;
      this.#powers.beta2 *= beta2;
    }
  }
}

interface CompiledProgram {
  readonly kernel: Kernel;
  readonly constants: OptimizerProgram["constants"];
}

function compile(optimizer: Optimizer, decays: boolean, memory: WebAssemblyMemory): CompiledProgram {
  const { program, constants } = optimizerProgram(optimizer, decays);
  return { kernel: compileKernel(program, memory), constants };
}

/** Per tensor: the factor of the first multiplier that matches it (else 1), and the decay unless an exempt pattern matches; neighbours with equal values are joined. */
function segmentsOf(recipe: OptimizerRecipe, layout: ParameterLayout): Segment[] {
  const segments: Segment[] = [];
  for (const { name, offset, length } of layout.entries) {
    const learningRateFactor = recipe.learningRateMultipliers.find(({ layers }) => matchesTensor(layers, name))?.factor ?? 1;
    const weightDecay = recipe.weightDecayExempt.some((pattern) => matchesTensor(pattern, name)) ? 0 : recipe.weightDecay;
    const last = segments.at(-1);
    if (last?.learningRateFactor === learningRateFactor && last.weightDecay === weightDecay)
      segments[segments.length - 1] = { ...last, to: offset + length };
    else segments.push({ from: offset, to: offset + length, learningRateFactor, weightDecay });
  }
  return segments;
}
