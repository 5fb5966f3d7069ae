import { describe, expect, test } from "vitest";
import { differentiate } from "../../../../../domain/network/gradient/differentiate.js";
import { parameterLayout, statisticsLayout } from "../../../../../domain/training/parameters.js";
import { bits, expectClose, expectTensors } from "../../../../../test/conformance/engine/compare.js";
import { run, sumInCallsOf } from "../../../../../test/conformance/engine/engines.js";
import { gradientInput } from "../../../../../test/conformance/engine/inputs.js";
import * as layers from "../../../../../test/conformance/engine/layers.js";
import { nameOf, trainableOf } from "../../../../../test/conformance/engine/networks.js";
import { runOnGrain } from "../../../../../test/support/grain-program.js";
import type { Trainable } from "../../../engine.js";
import { openOnnxEngine } from "../../onnx.js";
import { loadRuntime, type Runtime } from "../../runtime.js";
import { chooseLowering } from "../choose-lowering.js";
import { probeBlocked } from "./probe.js";

const { around, batchNorm, chain, conv, dense, depthwise, flatten, globalAveragePool, graph, pool, relu, relu6, two } = layers;
const uneven = { top: 0, bottom: 1, left: 0, right: 1 };

// The engines' suite has small networks for finite differences; here channels fill blocks and do not, and maps are large.
const chains = [
  chain("windows of 3x3", [9, 8, 3], [conv(18, [3, 3], { padding: around(1) }), relu, conv(33, [3, 3], { padding: around(1) }), relu, globalAveragePool, dense(5)]), // prettier-ignore
  chain("windows with strides", [12, 11, 3], [conv(20, [3, 3], { padding: around(1) }), relu6, conv(17, [3, 3], { strides: two, padding: around(1) }), relu, conv(21, [1, 1], { strides: two }), relu, conv(16, [3, 3], { strides: two, padding: uneven }), globalAveragePool, dense(5)]), // prettier-ignore
  chain("long windows", [8, 9, 16], [conv(18, [1, 5], { padding: { top: 0, bottom: 0, left: 2, right: 2 } }), relu, conv(16, [5, 1], { padding: { top: 2, bottom: 2, left: 0, right: 0 } }), relu, conv(19, [2, 2]), globalAveragePool, dense(5)]), // prettier-ignore
  chain("stem of 7x7", [20, 17, 3], [conv(18, [7, 7], { strides: two, padding: around(3) }), batchNorm, relu, pool("maxPool", [3, 3], { strides: two, padding: around(1) }), globalAveragePool, dense(5)]), // prettier-ignore
  chain("points on a large map", [29, 28, 3], [conv(24, [1, 1]), batchNorm, relu6, conv(17, [1, 1]), batchNorm, relu6, conv(36, [1, 1]), globalAveragePool, dense(5)]), // prettier-ignore
  chain("points on a small map", [5, 5, 160], [conv(192, [1, 1]), batchNorm, relu6, depthwise([3, 3], { padding: around(1) }), batchNorm, relu6, conv(160, [1, 1]), batchNorm, globalAveragePool, dense(5)]), // prettier-ignore
  graph(
    "branches",
    [10, 9, 3],
    [
      ["stem", ["input"], conv(16, [3, 3], { padding: around(1) })],
      ["stem_bn", ["stem"], batchNorm],
      ["stem_relu", ["stem_bn"], relu],
      ["a", ["stem_relu"], conv(16, [3, 3], { padding: around(1) })],
      ["a_bn", ["a"], batchNorm],
      ["sum", ["a_bn", "stem_relu"], { kind: "add" }],
      ["sum_relu", ["sum"], relu],
      ["b", ["sum_relu"], conv(32, [1, 1], { bias: true })],
      ["c", ["sum_relu"], pool("averagePool", [3, 3], { strides: [1, 1], padding: around(1) })],
      ["both", ["b", "c"], { kind: "concat" }],
      ["d", ["both"], depthwise([3, 3], { strides: two, padding: around(1) })],
      ["pooled", ["d"], globalAveragePool],
      ["logits", ["pooled"], dense(5)],
    ],
  ),
];
const trainables = chains.flatMap((network): Trainable[] =>
  network.layers.some(({ kind }) => kind === "batchNorm") ? [trainableOf(network), trainableOf(network, "BATCH")] : [trainableOf(network)],
);

describe.each(trainables.map((trainable) => [nameOf(trainable), trainable] as const))("%s", (_, trainable) => {
  const { network } = trainable;

  test("gradient and statistics are those of the program in float64", async () => {
    const shape = { grains: 1, grainRows: 3 };
    const input = gradientInput(trainable, shape, 31);
    const expected = runOnGrain(differentiate(network, trainable), trainable, input, shape.grainRows);
    const found = await run(await openOnnxEngine({ threads: 2 }), trainable, input, shape);
    const layout = parameterLayout(network);
    const slopes = new Float64Array(layout.length);
    for (const { name, offset } of layout.entries) slopes.set(expected.gradients.get(name) ?? [], offset);
    expectTensors(layout, found.gradient, slopes);
    const counted = input.rowWeights.filter((weight) => weight > 0).length;
    if (trainable.batchNorm === "BATCH")
      expectClose(found.statistics, expected.moments.map((value) => value * counted), 1e-5, "statistics"); // prettier-ignore
    else expect(found.statistics.length === 0 || statisticsLayout(network).length > 0).toBe(true);
  });

  test("the same bits on 1, 2 and 5 threads, and for 1, 2 and 8 grains a call", async () => {
    const input = gradientInput(trainable, { grains: 8, grainRows: 2 }, 32);
    const seen = new Set<string>();
    for (const [threads, grains] of [
      [1, 8],
      [2, 8],
      [5, 8],
      [2, 1],
      [5, 2],
    ] as const) {
      // prettier-ignore
      const sums = await sumInCallsOf(grains, await openOnnxEngine({ threads }), trainable, input, 2);
      seen.add(bits(sums.gradient) + bits(sums.statistics));
    }
    expect(seen.size).toBe(1);
  });
});

test("a relu6 hands down what it gets above 0 and below 6, and nothing at the ends or beyond", async () => {
  const values = [-1, 0, 1e-20, 1e-6, 3, 5.999, 5.999999, 6, 6.000001, 100];
  const network = chain("edges", [1, 1, 3], [conv(values.length, [1, 1], { bias: true }), relu6, flatten, dense(2)]);
  const trainable = trainableOf(network);
  const shape = { grains: 1, grainRows: 2 };
  const input = gradientInput(trainable, shape, 33);
  const [bias, kernel] = parameterLayout(network).entries;
  expect([kernel?.shape, bias?.shape]).toEqual([[1, 1, 3, values.length], [values.length]]);
  input.parameters.fill(0, kernel!.offset, kernel!.offset + kernel!.length);
  input.parameters.set(values, bias!.offset);
  const { gradient } = await run(await openOnnxEngine({ threads: 1 }), trainable, input, shape);
  const slopes = gradient.subarray(bias!.offset, bias!.offset + bias!.length);
  expect([...slopes].map((slope) => slope !== 0)).toEqual(values.map((value) => value > 0 && value < 6));
  const expected = runOnGrain(differentiate(network, trainable), trainable, input, shape.grainRows).gradients;
  expectClose(slopes, [...(expected.get(bias!.name) ?? [])], 1e-6, "slopes");
});

describe("the probe", () => {
  /** A runtime whose sessions give something else. */
  async function brokenRuntime(run: () => Promise<unknown>): Promise<Runtime> {
    const runtime = await loadRuntime();
    const session = { run, release: () => Promise.resolve() };
    return { ...runtime, InferenceSession: { create: () => Promise.resolve(session) } } as unknown as Runtime;
  }
  const missing = (): Promise<unknown> => Promise.reject(new Error("ReorderInput(1) is not a registered function/op"));
  const unknownSize = (): Promise<unknown> => Promise.resolve({ y: { dims: [1, 4, 1, 6], data: new Float32Array(24) } });
  const wrong = (): Promise<unknown> => Promise.resolve({ y: { dims: [1, 16, 1, 6], data: new Float32Array(24) } });

  test.each([
    ["no such operators", missing, /not a registered/],
    ["blocks of an unknown size", unknownSize, /blocks of 4 channels/],
    ["a wrong result", wrong, /wrong result/],
  ] as const)("%s: the portable lowering is used, and says why where blocked is asked for", async (_, outcome, reason) => {
    const runtime = await brokenRuntime(outcome);
    expect(await probeBlocked(runtime)).toEqual({ reason: expect.stringMatching(reason) as string });
    expect((await chooseLowering(runtime, undefined)).name).toBe("portable");
    await expect(chooseLowering(runtime, "blocked")).rejects.toMatchObject({
      code: "ENGINE_UNAVAILABLE",
      message: expect.stringMatching(reason) as string,
    });
  });

  test("runs once per process", async () => {
    let runs = 0;
    const runtime = await brokenRuntime(() => {
      runs++;
      return missing();
    });
    await chooseLowering(runtime, undefined);
    await chooseLowering(runtime, undefined);
    expect(runs).toBe(1);
  });

  test("the profile of gradients names the lowering and its block size, for the bits are others", async () => {
    const [itself, portable] = [await openOnnxEngine({ threads: 1 }), await openOnnxEngine({ threads: 1, lowering: "portable" })];
    const probe = await probeBlocked(await loadRuntime());
    const name = "block" in probe ? `blocked-${probe.block}` : "portable";
    expect(itself.gradientProfile.engineVersion).toBe(`${itself.forwardProfile.engineVersion}+${name}`);
    expect(portable.gradientProfile.engineVersion).toBe(`${portable.forwardProfile.engineVersion}+portable`);
    expect(portable.forwardProfile).toEqual(itself.forwardProfile);
  });
});
