import { strict as assert } from "node:assert";
import type { Preprocessing } from "../../domain/network/preprocessing.js";

/** @throws AssertionError where pixels are given to a network that takes features, or the other way round, or their number is another. */
export function checkFeatures(
  name: string,
  features: Float32Array | Uint8Array,
  length: number,
  preprocessing: Preprocessing | undefined,
): void {
  const takes = preprocessing === undefined ? "a Float32Array" : "pixels (Uint8Array)";
  assert.equal(features instanceof Uint8Array, preprocessing !== undefined, `network ${name} takes ${takes}`);
  assert.equal(features.length, length, `network ${name}: features must hold ${length} values, found ${features.length}`);
}
