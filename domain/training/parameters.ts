import { createHash } from "node:crypto";
import { compareUtf8 } from "../dataset/utf8-order.js";
import { elementCount, type Network, type Shape, type Tensor } from "../network/network.js";
import { weightSpecs, type WeightSpec } from "../network/shapes.js";

/** Where each trained tensor lies in the one parameter vector that is trained, averaged and hashed. */
export interface ParameterLayout {
  readonly entries: readonly ParameterEntry[];
  /** Elements of the whole vector. */
  readonly length: number;
}

export interface ParameterEntry {
  readonly name: string;
  readonly shape: Shape;
  /** First element in the vector. */
  readonly offset: number;
  readonly length: number;
}

/** Trained tensors of `trainable` in the order of their names' UTF-8 bytes, without gaps. */
export function parameterLayout(trainable: Network): ParameterLayout {
  return layoutOf(weightSpecs(trainable).filter((spec) => spec.trainable));
}

/** Moving means and variances of the batch norm layers of `trainable`, in the same order: a vector beside the parameters, which no optimiser touches. */
export function statisticsLayout(trainable: Network): ParameterLayout {
  return layoutOf(weightSpecs(trainable).filter((spec) => !spec.trainable));
}

function layoutOf(specs: WeightSpec[]): ParameterLayout {
  specs.sort((a, b) => compareUtf8(a.name, b.name));
  let offset = 0;
  const entries = specs.map(({ name, shape }) => {
    const entry = { name, shape, offset, length: elementCount(shape) };
    offset += entry.length;
    return entry;
  });
  return { entries, length: offset };
}

/** Views of the vector's tensors; writing to one writes to the vector. */
export function tensorsOf(layout: ParameterLayout, vector: Float32Array): Map<string, Tensor> {
  return new Map(
    layout.entries.map(({ name, shape, offset, length }) => [name, { shape, data: vector.subarray(offset, offset + length) }]),
  );
}

/**
 * The digest that the first promise is about: SHA-256 over all tensors in the order of their names' UTF-8 bytes.
 * Each tensor adds `NAME\nfloat32\nD0,D1,…\n` in UTF-8 and then its little-endian bytes.
 */
export function weightsSha256(tensors: ReadonlyMap<string, Tensor>): string {
  const hash = createHash("sha256");
  const names = [...tensors.keys()].sort(compareUtf8);
  for (const name of names) {
    const { shape, data } = tensors.get(name) as Tensor;
    hash.update(`${name}\nfloat32\n${shape.join(",")}\n`);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}
