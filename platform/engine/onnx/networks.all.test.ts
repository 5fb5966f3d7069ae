import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { buildTopology } from "../../../domain/network/catalog/catalog.js";
import { elementCount, type Network, type Weights } from "../../../domain/network/network.js";
import type { Preprocessing } from "../../../domain/network/preprocessing.js";
import { layerShapes, weightSpecs } from "../../../domain/network/shapes.js";
import { parameterLayout, type ParameterLayout, statisticsLayout } from "../../../domain/training/parameters.js";
import type { GradientInput, GradientShape, Trainable } from "../engine.js";
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

// Gradients of convolutions run on all threads.
test.each([
  ["portable", "FROZEN"],
  ["portable", "BATCH"],
  [undefined, "FROZEN"],
  [undefined, "BATCH"],
] as const)(
  "lowering %s: the gradient of every topology has the same bits for 1, 2 and 3 threads: %s",
  async (lowering, batchNorm) => {
    for (const [topology, width, size] of [
      ["mobilenet_v2", 1, 224],
      ["mobilenet_v2", 0.35, 96],
      ["mobilenet_v1", 0.5, 96],
      ["squeezenet_1.1", 1, 96],
      ["inception_v3", 1, 96],
      ["resnet18_v1", 1, 96],
      ["resnet18_v2", 1, 96],
      ["resnet50_v1", 1, 64],
      ["vgg16", 1, 48],
    ] as const) {
      const { network, preprocessing } = buildTopology(topology, { width, size, top: undefined });
      // Threads share two grains in lanes, and the operators of one grain.
      for (const shape of [
        { grains: 2, grainRows: 2 },
        { grains: 1, grainRows: 2 },
      ]) {
        // prettier-ignore
        const { trainable, input } = step(network, preprocessing, batchNorm, shape);
        const seen = new Set<string>();
        for (const threads of [1, 2, 3]) {
          const gradient = await (await openOnnxEngine({ threads, ...(lowering && { lowering }) })).compileGradient(trainable, shape);
          const { gradient: found, statistics, loss } = await gradient.run(input);
          expect(found.every(Number.isFinite) && found.some((value) => value !== 0), topology).toBe(true);
          seen.add(JSON.stringify([loss, ...[found, statistics].map((values) => createHash("sha256").update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)).digest("hex"))])); // prettier-ignore
          await gradient.release();
        }
        expect(seen.size, `${topology}, grains: ${shape.grains}`).toBe(1);
      }
    }
  },
  300_000,
);

test("all of MobileNetV2 on a batch of 32 takes less than 2 GiB, whatever batch norm does", async () => {
  const { network, preprocessing } = buildTopology("mobilenet_v2", { width: 1, size: 224, top: undefined });
  for (const batchNorm of ["FROZEN", "BATCH"] as const) {
    const { trainable, input } = step(network, preprocessing, batchNorm, { grains: 8, grainRows: 4 });
    const gradient = await (await openOnnxEngine({ threads: 2 })).compileGradient(trainable, { grains: 8, grainRows: 4 });
    const before = process.memoryUsage().rss;
    await gradient.run(input);
    // The program and its engine take 0.2 GB; what else this process holds is that of the tests before.
    expect(process.memoryUsage().rss - before).toBeLessThan(1.6 * 2 ** 30);
    await gradient.release();
  }
}, 120_000);

function step(
  network: Network,
  preprocessing: Preprocessing,
  batchNorm: Trainable["batchNorm"],
  { grains, grainRows }: GradientShape,
): { readonly trainable: Trainable; readonly input: GradientInput } {
  const logits = { kind: "dense", units: 102, bias: true, name: "logits", inputs: [network.output] } as const;
  const flat = { kind: "flatten", name: "flat", inputs: [network.output] } as const;
  const isFlat = layerShapes(network).get(network.output)?.length === 1;
  const layers = [...network.layers, ...(isFlat ? [logits] : [flat, { ...logits, inputs: ["flat"] }])];
  const trainable: Trainable = {
    network: { ...network, layers, output: "logits" },
    loss: { kind: "softmax", labelSmoothing: 0 },
    batchNorm,
    preprocessing,
  };
  const weights = (layout: ParameterLayout): Float32Array => {
    const vector = new Float32Array(layout.length);
    layout.entries.forEach(({ name, shape, offset, length }, seed) => vector.set(madeUp(name, length, shape.at(-1) ?? 1, seed), offset));
    return vector;
  };
  const rows = grains * grainRows;
  return {
    trainable,
    input: {
      parameters: weights(parameterLayout(trainable.network)),
      statistics: weights(statisticsLayout(trainable.network)),
      features: Uint8Array.from({ length: rows * elementCount(network.inputShape) }, (_, i) => Math.imul(i + 7, 2654435761) >>> 24),
      labels: Int32Array.from({ length: rows }, (_, i) => (i * 7) % 102),
      // Rows that do not count, and, with statistics of the batch, grains of several sizes.
      rowWeights: Float32Array.from({ length: rows }, (_, row) => [1, 0.5, 0, 2][row % 4] ?? 1),
      dropoutMasks: trainable.network.layers
        .filter(({ kind }) => kind === "dropout")
        .map(({ name }) => {
          const length = rows * elementCount(layerShapes(trainable.network).get(name) ?? []);
          return Float32Array.from({ length }, (_, i) => (i % 3 === 0 ? 0 : 1.5));
        }),
    },
  };
}

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
