import { setImmediate as tick } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { buildTopology } from "../../../domain/network/catalog/catalog.js";
import { elementCount, type Network } from "../../../domain/network/network.js";
import { weightSpecs } from "../../../domain/network/shapes.js";
import { exerciseEngine } from "../../../test/conformance/engine.js";
import { expectWithin, largestOf } from "../../../test/conformance/engine/compare.js";
import { gradientInput, randoms, randomWeights } from "../../../test/conformance/engine/inputs.js";
import { batchNorm, chain, conv, dense, flatten } from "../../../test/conformance/engine/layers.js";
import { blockOf } from "../../../test/conformance/engine/networks.js";
import type { Engine, GradientInput } from "../engine.js";
import { compileGradient } from "./gradient.js";
import { findRuntime, remedy, type Runtime } from "./load.js";
import { openTensorflowEngine } from "./tensorflow.js";

const threads = 2;
const found = findRuntime(threads);

if ("missing" in found) test.skip(`engine tensorflow: ${found.missing}; ${remedy}`);
else {
  exerciseEngine("tensorflow", () => openTensorflowEngine({ threads }));
  describe("engine tensorflow", () => {
    exercise(found.runtime);
  });
}

function exercise(runtime: Runtime): void {
  const { binding } = runtime;
  const open = (): Promise<Engine> => openTensorflowEngine({ threads });
  test("the profile says what bits depend on", async () => {
    const { forwardProfile, gradientProfile } = await open();
    expect(gradientProfile).toMatchObject({ engine: "tensorflow", threads, batch: 0, decoder: "" });
    expect(gradientProfile.engineVersion).toMatch(/^\d+\.\d+\.\d+\+tensorflow-\d+\.\d+\.\d+$/);
    expect(forwardProfile).toEqual({ ...gradientProfile, batch: expect.any(Number) as number });
    expect(forwardProfile.batch).toBeGreaterThan(0);
  });

  test("another number of threads is refused, for TensorFlow reads it once", async () => {
    await expect(openTensorflowEngine({ threads: 3 })).rejects.toMatchObject({
      code: "ENGINE_UNAVAILABLE",
      message: expect.stringMatching(/runs it with 2 threads, which cannot be changed to 3; use/) as string,
    });
  });

  test.each(["FROZEN", "BATCH"] as const)("no tensor is left behind, whether a call succeeds or fails: %s", async (batchNorm) => {
    const engine = await open();
    const block = blockOf(batchNorm);
    const input = gradientInput(block, { grains: 4, grainRows: 4 }, 3);
    const before = binding.getNumOfTensors();

    const gradient = await engine.compileGradient(block, { grains: 4, grainRows: 4 });
    for (let i = 0; i < 3; i++) await gradient.run(input);
    await expect(gradient.run({ ...input, statistics: input.statistics.subarray(1) })).rejects.toThrow(/statistics must hold/);
    await expect(gradient.run({ ...input, labels: input.labels.map(() => 3) })).rejects.toThrow(/label 3/);
    expect(binding.getNumOfTensors()).toBe(before);
    await gradient.release();

    const evaluation = await engine.compileEvaluation(block, 16);
    await evaluation.run(input);
    await evaluation.activations(input);
    await expect(evaluation.run({ ...input, parameters: input.parameters.subarray(1) })).rejects.toThrow(/parameters must hold/);
    await evaluation.release();

    const forward = await engine.compileForward(block.network, randomWeights(block.network, 4), { batch: 3 });
    await forward.run(input.features.subarray(0, 3 * 120), 3);
    await forward.release();
    expect(binding.getNumOfTensors()).toBe(before);
  });

  test("a call lets others run between its grains, and holds only weights meanwhile", async () => {
    const block = blockOf("BATCH");
    const gradient = await (await open()).compileGradient(block, { grains: 8, grainRows: 2 });
    const before = binding.getNumOfTensors();
    const held: number[] = [];
    let isDone = false;
    const running = gradient.run(gradientInput(block, { grains: 8, grainRows: 2 }, 3)).finally(() => (isDone = true));
    while (!isDone) await tick().then(() => held.push(binding.getNumOfTensors() - before));
    await running;
    expect(held.length).toBeGreaterThanOrEqual(8);
    expect(new Set(held)).toEqual(new Set([weightSpecs(block.network).length, 0]));
  });

  test.each(["FROZEN", "BATCH"] as const)("rows of weight 0 are left out wherever they stand: %s", async (batchNorm) => {
    const block = blockOf(batchNorm);
    const shape = { grains: 1, grainRows: 5 };
    const gradient = await (await open()).compileGradient(block, shape);
    const input = { ...gradientInput(block, shape, 5), rowWeights: Float32Array.of(1, 0, 2, 0, 3) };
    const expected = copied(await gradient.run(input));
    const found = await gradient.run(inOrder(input, [0, 2, 4, 1, 3]));
    expect(bits(found.gradient)).toBe(bits(expected.gradient));
    expect(bits(found.statistics)).toBe(bits(expected.statistics));
    expect([found.loss, found.correct]).toEqual([expected.loss, expected.correct]);
  });

  test("frozen batch norm has the same gradient by the kernels that a GPU takes", async () => {
    const block = blockOf("FROZEN");
    const shape = { grains: 2, grainRows: 4 };
    const input = gradientInput(block, shape, 8);
    const [fused, composed] = await Promise.all(
      [false, true].map(async (onGpu) => copied(await compileGradient({ ...runtime, onGpu }, block, shape).run(input))),
    );
    expectWithin(composed!.gradient, fused!.gradient, 1e-5 * largestOf(fused!.gradient), "gradient");
    expect(bits(composed!.gradient)).not.toBe(bits(fused!.gradient)); // they are others indeed
  });

  test.each([
    ["sigmoid", [flatten, dense(7), { kind: "sigmoid" }]],
    ["softmax", [flatten, dense(3), { kind: "softmax" }]],
    ["sigmoid on a map", [conv(3, [2, 2]), { kind: "sigmoid" }]],
    ["batch norm", [{ kind: "relu" }, batchNorm]],
  ] as const)("%s: a row has the same bits at any position and fill, in any batch", async (_, layers) => {
    await expectSameBits(await open(), chain("row", [6, 5, 4], layers), 120);
  });

  test.each([
    ["mobilenet_v2", 1, 224],
    ["mobilenet_v2", 0.35, 96],
    ["squeezenet_1.1", 1, 227],
    ["inception_v3", 1, 150],
    ["resnet18_v2", 1, 224],
  ] as const)("%s %f at %i: a picture has the same bits at any position and fill, in any batch", async (topology, width, size) => {
    const { network } = buildTopology(topology, { width, size, top: undefined });
    await expectSameBits(await open(), network, elementCount(network.inputShape));
  });
}

async function expectSameBits(engine: Engine, network: Network, length: number): Promise<void> {
  const weights = randomWeights(network, 9);
  const pictures = randoms(5 * length, 10);
  const picture = randoms(length, 11);
  const seen = new Set<string>();
  for (const batch of [1, 2, 5]) {
    const forward = await engine.compileForward(network, weights, { batch });
    for (const rows of new Set([1, batch])) {
      for (let position = 0; position < rows; position++) {
        const input = pictures.slice(0, rows * length);
        input.set(picture, position * length);
        const output = await forward.run(input, rows);
        const width = output.length / rows;
        const row = output.slice(position * width, (position + 1) * width);
        expect(row.every(Number.isFinite) && row.some((value) => value !== 0)).toBe(true);
        seen.add(bits(row));
      }
    }
    await forward.release();
  }
  expect(seen.size).toBe(1);
}

/** The same grain with its rows in another order. */
function inOrder(input: GradientInput, order: readonly number[]): GradientInput {
  const rows = <Data extends Float32Array | Uint8Array | Int32Array>(data: Data): Data => {
    const length = data.length / order.length;
    const ordered = data.slice();
    order.forEach((row, i) => ordered.set(data.subarray(row * length, (row + 1) * length), i * length));
    return ordered as Data;
  };
  return {
    ...input,
    features: rows(input.features),
    labels: rows(input.labels),
    rowWeights: rows(input.rowWeights),
    dropoutMasks: input.dropoutMasks.map(rows),
  };
}

function copied<Sums extends { readonly gradient: Float32Array; readonly statistics: Float32Array }>(sums: Sums): Sums {
  return { ...sums, gradient: sums.gradient.slice(), statistics: sums.statistics.slice() };
}

function bits(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}
