import { elementCount, type Network, type Shape, type Tensor } from "../../domain/network/network.js";
import { weightSpecs } from "../../domain/network/shapes.js";

/** The formulas of made_up_weights.py: both sides hold the same bits. */

/** Numbers from -1 to 1 that depend on the name and the place only, after `each`: FNV-1a of the name, then MurmurHash3's finalizer of each place. */
export function uniform(name: string, count: number, each: (value: number, place: number) => number): Float32Array {
  let seed = 2166136261;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 16777619);
  const result = new Float32Array(count);
  for (let place = 0; place < count; place++) {
    let x = Math.imul(place, 2654435761) + seed;
    x ^= x >>> 16;
    x = Math.imul(x, 0x85ebca6b);
    x ^= x >>> 13;
    x = Math.imul(x, 0xc2b2ae35);
    x ^= x >>> 16;
    result[place] = each((x >>> 0) / 2 ** 31 - 1, place);
  }
  return result;
}

/** A tensor `LAYER/kernel` and so on, of a size that keeps activations sensible. */
export function madeUpTensor(name: string, shape: Shape): Tensor {
  const count = elementCount(shape);
  const spread = {
    kernel: Math.sqrt(6 / (count / shape.at(-1)!)),
    depthwise_kernel: Math.sqrt(6 / (shape[0]! * (shape[1] ?? 1))),
  };
  const part = name.slice(name.lastIndexOf("/") + 1);
  const data = uniform(name, count, (value) => {
    if (part === "kernel" || part === "depthwise_kernel") return value * spread[part];
    if (part === "gamma") return 1 + 0.25 * value;
    return part === "moving_variance" ? 1 + 0.5 * value : 0.25 * value;
  });
  return { shape, data };
}

export function madeUpWeights(network: Network): Map<string, Tensor> {
  return new Map(weightSpecs(network).map(({ name, shape }) => [name, madeUpTensor(name, shape)]));
}

/** One picture [size, size, 3], from -1 to 1. */
export function madeUpPicture(size: number): Float32Array {
  return uniform("input", size * size * 3, (value) => value);
}
