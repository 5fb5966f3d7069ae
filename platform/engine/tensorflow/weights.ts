import { strict as assert } from "node:assert";
import type { Weights } from "../../../domain/network/network.js";
import type { ParameterLayout } from "../../../domain/training/parameters.js";
import type { Kernels, Value } from "./kernels.js";

/** The tensors of one or more vectors, each uploaded from where it lies. */
export function uploadVectors(
  kernels: Kernels,
  name: string,
  vectors: readonly (readonly [slot: string, layout: ParameterLayout, vector: Float32Array])[],
): Map<string, Value> {
  return new Map(
    vectors.flatMap(([slot, layout, vector]) => {
      assert.equal(vector.length, layout.length, `${name}: ${slot} must hold ${layout.length} values, found ${vector.length}`);
      return layout.entries.map((entry): [string, Value] => [
        entry.name,
        kernels.upload(vector.subarray(entry.offset, entry.offset + entry.length), entry.shape),
      ]);
    }),
  );
}

export function uploadWeights(kernels: Kernels, weights: Weights): Map<string, Value> {
  return new Map([...weights].map(([name, { data, shape }]) => [name, kernels.upload(data, shape)]));
}
