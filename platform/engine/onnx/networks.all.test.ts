import { expect, test } from "vitest";
import { buildTopology } from "../../../domain/network/catalog/catalog.js";
import { elementCount, type Weights } from "../../../domain/network/network.js";
import { weightSpecs } from "../../../domain/network/shapes.js";
import { openOnnxEngine } from "./onnx.js";

// The forward profile says that bits depend neither on threads nor on the batch: held here for every topology, with made-up weights.
test.each([
  ["mobilenet_v2", 1, 224],
  ["mobilenet_v2", 0.35, 224],
  ["mobilenet_v1", 0.25, 128],
  ["squeezenet_1.1", 1, 227],
  ["inception_v3", 1, 150],
] as const)(
  "%s %f at %i: one picture has the same bits for 1, 2, 4 and 7 threads, in any batch and at any position",
  async (topology, width, size) => {
    const { network, preprocessing } = buildTopology(topology, { width, size, top: undefined });
    const weights: Weights = new Map(
      weightSpecs(network).map(({ name, shape }, seed) => [
        name,
        { shape, data: madeUp(name, elementCount(shape), shape.at(-1) ?? 1, seed) },
      ]),
    );
    const rowLength = elementCount(network.inputShape);
    const pictures = Uint8Array.from({ length: 8 * rowLength }, (_, i) => Math.imul(i + 7, 2654435761) >>> 24);
    const picture = pictures.subarray(5 * rowLength, 6 * rowLength);
    const seen = new Set<string>();
    for (const [threads, batch] of [
      [1, 8],
      [2, 8],
      [4, 8],
      [7, 8],
      [2, 1],
      [1, 3],
    ] as const) {
      const engine = await openOnnxEngine({ threads });
      const forward = await engine.compileForward(network, weights, { batch, preprocessing });
      for (const [rows, position] of [
        [batch, 0],
        [batch, batch - 1],
        [1, 0],
      ] as const) {
        const input = pictures.slice(0, rows * rowLength);
        input.set(picture, position * rowLength);
        const output = await forward.run(input, rows);
        const length = output.length / rows;
        const found = output.slice(position * length, (position + 1) * length);
        expect(found.every(Number.isFinite) && found.some((value) => value !== 0)).toBe(true);
        seen.add(Buffer.from(found.buffer).toString("base64"));
      }
      await forward.release();
    }
    expect(seen.size).toBe(1);
  },
);

/** Weights that keep activations of a sensible size. */
function madeUp(name: string, length: number, outputs: number, seed: number): Float32Array {
  let state = seed + 1;
  const scale = name.endsWith("/kernel") ? Math.sqrt((6 * outputs) / length) : name.endsWith("depthwise_kernel") ? 1 : 0.1;
  const isOne = name.endsWith("gamma") || name.endsWith("moving_variance");
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return isOne ? 1 : (state / 2 ** 31 - 1) * scale;
  });
}
