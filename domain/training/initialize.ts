import type { Initializer } from "../job/job.js";
import { elementCount, type Shape } from "../network/network.js";
import { randomKey, RandomStream } from "../random.js";
import type { ParameterLayout } from "./parameters.js";

/**
 * Fills `vector` (`[layout.length]`) with the initial values of every tensor for which `only` holds. Kernels are drawn by the initialiser, gammas are 1, biases and betas 0.
 * A tensor's numbers depend on its name, its shape and the seed alone, so adding a layer leaves the others as they were.
 */
export function initializeParameters(
  vector: Float32Array,
  layout: ParameterLayout,
  initializer: Initializer,
  seed: number,
  only: (name: string) => boolean = () => true,
): void {
  for (const { name, shape, offset, length } of layout.entries) {
    if (only(name)) fillTensor(vector.subarray(offset, offset + length), name, shape, initializer, seed);
  }
}

/** Fills `vector` (`[layout.length]`) with the moving statistics of batch norm layers that have seen nothing: means 0, variances 1. */
export function initializeStatistics(vector: Float32Array, layout: ParameterLayout): void {
  for (const { name, offset, length } of layout.entries) vector.fill(name.endsWith("/moving_variance") ? 1 : 0, offset, offset + length);
}

function fillTensor(values: Float32Array, name: string, shape: Shape, initializer: Initializer, seed: number): void {
  const kind = name.slice(name.lastIndexOf("/") + 1);
  if (kind === "gamma") {
    values.fill(1);
    return;
  }
  if (kind === "bias" || kind === "beta" || initializer.kind === "zeros") {
    values.fill(0);
    return;
  }
  const stream = new RandomStream(randomKey(seed, `initial/${name}`));
  if (initializer.kind === "glorotUniform") {
    const { fanIn, fanOut } = fans(shape);
    const limit = Math.sqrt(6 / (fanIn + fanOut));
    for (let i = 0; i < values.length; i++) values[i] = limit * (2 * stream.uniform() - 1);
  } else {
    for (let i = 0; i < values.length; i++) values[i] = initializer.stddev * stream.truncatedNormal();
  }
}

/** As `compute_fans` of Keras: the last two lengths, each times the receptive field that stands before them. */
function fans(shape: Shape): { fanIn: number; fanOut: number } {
  const field = elementCount(shape.slice(0, -2));
  return { fanIn: field * (shape.at(-2) ?? 1), fanOut: field * (shape.at(-1) ?? 1) };
}
