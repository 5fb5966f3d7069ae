import { elementCount, type Shape } from "../../domain/network/network.js";
import type { FeatureArray } from "../../domain/training/grains.js";
import { madeUpTensor, uniform } from "./made-up-weights.js";

/** The formulas of recipes.py: both sides hold the same bits. */

/** Of a recipe what its made-up numbers depend on, as recipes_*.json states it. */
export interface MadeUpRecipe {
  readonly batch: number;
  readonly inputShape: Shape;
  readonly features: "pixels" | "nonNegative" | "signed";
  readonly classes: number;
  /** Standard deviation of the output's kernel where the recipe gives one; its biases then start at 0. */
  readonly outputDeviation: number | null;
}

/** Features `[batch, ...inputShape]` of one step: float32, or uint8 pixels of three by three coloured cells and noise. */
export function madeUpFeatures({ batch, inputShape, features }: MadeUpRecipe, step: number): FeatureArray {
  const count = batch * elementCount(inputShape);
  const name = `features/${step}`;
  if (features === "nonNegative") return uniform(name, count, Math.abs);
  if (features === "signed") return uniform(name, count, (value) => value);

  const [size = 1, , channels = 1] = inputShape;
  const cells = new Float64Array(batch * 3 * 3 * channels);
  uniform(`cells/${step}`, cells.length, (value, place) => (cells[place] = value));
  const pixels = uniform(name, count, (noise, place) => {
    const channel = place % channels;
    const pixel = Math.floor(place / channels);
    const [column, line, row] = [pixel % size, Math.floor(pixel / size) % size, Math.floor(pixel / size ** 2)];
    const [cellLine, cellColumn] = [Math.floor((3 * line) / size), Math.floor((3 * column) / size)];
    const cell = cells[((row * 3 + cellLine) * 3 + cellColumn) * channels + channel]!;
    return Math.floor((1 + 0.75 * cell + 0.25 * noise) * 128);
  });
  return Uint8Array.from(pixels);
}

/** Class numbers `[batch]` of one step. */
export function madeUpLabels({ batch, classes }: MadeUpRecipe, step: number): Int32Array {
  return Int32Array.from(uniform(`labels/${step}`, batch, (value) => Math.floor(((value + 1) / 2) * classes)));
}

/** The initial value of a tensor; recipes.py says why batch norms start as they do. */
export function madeUpStart({ outputDeviation }: MadeUpRecipe, name: string, shape: Shape): Float32Array {
  if (outputDeviation !== null && name === "head/output/kernel")
    return uniform(name, elementCount(shape), (value) => value * (outputDeviation * Math.sqrt(3)));
  if (outputDeviation !== null && name === "head/output/bias") return new Float32Array(elementCount(shape));
  const { data } = madeUpTensor(name, shape);
  if (name.endsWith("/gamma")) return data.map((value) => 0.1 * value);
  return name.endsWith("/beta") ? data.map((value) => (value > -0.2 ? 0.7 + value : value - 0.7)) : data;
}

/** The sum of all elements, each times its own number from -1 to 1: about as large as the root mean square. */
export function projection(name: string, values: ArrayLike<number>): number {
  let sum = 0;
  uniform(`projection/${name}`, values.length, (factor, place) => (sum += factor * values[place]!));
  return sum / Math.sqrt(values.length / 3);
}
