import { describe, expect, test } from "vitest";
import { INPUT, type Layer } from "../../../domain/network/network.js";
import { parameterLayout } from "../../../domain/training/parameters.js";
import type { Trainable } from "../../../platform/engine/engine.js";
import { bits } from "./compare.js";
import { type Engines, run } from "./engines.js";
import { gradientInput } from "./inputs.js";
import { blockOf } from "./networks.js";
import { dense, flatten, relu6 } from "./layers.js";

/** What of a call counts, and what calls are refused. */
export function exerciseCounting(engines: Engines): void {
  describe("what counts", () => {
    const modes = ["FROZEN", "BATCH"] as const;

    test.each(modes)("a grain without any row that counts adds nothing: %s", async (mode) => {
      const trainable = blockOf(mode);
      const input = gradientInput(trainable, { grains: 2, grainRows: 3 }, 6);
      const half = <Data extends Float32Array | Uint8Array | Int32Array>(data: Data): Data => data.slice(0, data.length / 2) as Data;
      const expected = await run(
        engines().engine,
        trainable,
        {
          ...input,
          features: half(input.features),
          labels: half(input.labels),
          rowWeights: Float32Array.of(1, 2, 0),
          dropoutMasks: input.dropoutMasks.map(half),
        },
        { grains: 1, grainRows: 3 },
      );
      const gradient = await engines().engine.compileGradient(trainable, { grains: 2, grainRows: 3 });
      await gradient.run(input); // whose sums must not be left over
      const sums = await gradient.run({ ...input, rowWeights: Float32Array.of(1, 2, 0, 0, 0, 0) });
      expect(bits(sums.gradient)).toBe(bits(expected.gradient));
      expect(bits(sums.statistics)).toBe(bits(expected.statistics));
      expect([sums.loss, sums.correct]).toEqual([expected.loss, expected.correct]);
      await gradient.release();
    });

    test("with statistics of the batch, rows of weight 0 are left out wherever they stand", async () => {
      const trainable = blockOf("BATCH");
      const shape = { grains: 1, grainRows: 5 };
      const input = { ...gradientInput(trainable, shape, 5), rowWeights: Float32Array.of(1, 0, 2, 0, 3) };
      const inOrder = <Data extends Float32Array | Uint8Array | Int32Array>(data: Data): Data => {
        const length = data.length / 5;
        const ordered = data.slice() as Data;
        [0, 2, 4, 1, 3].forEach((row, i) => ordered.set(data.subarray(row * length, (row + 1) * length), i * length));
        return ordered;
      };
      const expected = await run(engines().engine, trainable, input, shape);
      const found = await run(
        engines().engine,
        trainable,
        {
          ...input,
          features: inOrder(input.features),
          labels: inOrder(input.labels),
          rowWeights: inOrder(input.rowWeights),
          dropoutMasks: input.dropoutMasks.map(inOrder),
        },
        shape,
      );
      expect(bits(found.gradient)).toBe(bits(expected.gradient));
      expect(bits(found.statistics)).toBe(bits(expected.statistics));
      expect([found.loss, found.correct]).toEqual([expected.loss, expected.correct]);
    });

    test("weights that do not reach the output have no gradient, from call to call", async () => {
      const layers: readonly Layer[] = [
        { ...dense(4), name: "aside", inputs: [INPUT] },
        { kind: "relu", name: "nowhere", inputs: ["aside"] },
        { ...dense(3), name: "logits", inputs: [INPUT] },
      ];
      const network = { name: "aside", inputShape: [5], layers, output: "logits" };
      const trainable: Trainable = { network, loss: { kind: "softmax", labelSmoothing: 0 }, batchNorm: "FROZEN" };
      const gradient = await engines().engine.compileGradient(trainable, { grains: 1, grainRows: 4 });
      const layout = parameterLayout(network);
      const target = new Float32Array(layout.length);
      for (let call = 0; call < 2; call++) {
        target.fill(7);
        await gradient.run({ ...gradientInput(trainable, { grains: 1, grainRows: 4 }, 7), gradient: target });
        for (const { name, offset, length } of layout.entries) {
          const values = target.subarray(offset, offset + length);
          expect(values.every((value) => value === 0)).toBe(name.startsWith("aside"));
          expect(values).not.toContain(7);
        }
      }
      await gradient.release();
    });

    test.each(modes)("vectors of another length and labels that are no class are refused, and the next call is right: %s", async (mode) => {
      const trainable = blockOf(mode);
      const input = gradientInput(trainable, { grains: 2, grainRows: 3 }, 8);
      const expected = await run(engines().engine, trainable, input, { grains: 2, grainRows: 3 });
      const gradient = await engines().engine.compileGradient(trainable, { grains: 2, grainRows: 3 });
      for (const [slot, message] of [
        ["parameters", /parameters must hold/],
        ["statistics", /statistics must hold/],
        ["features", /features must hold/],
        ["labels", /labels must hold/],
      ] as const)
        await expect(gradient.run({ ...input, [slot]: input[slot].subarray(1) })).rejects.toThrow(message);
      await expect(gradient.run({ ...input, dropoutMasks: [] })).rejects.toThrow(/one mask per dropout layer/);
      await expect(gradient.run({ ...input, labels: input.labels.map(() => 3) })).rejects.toThrow(/label 3/);
      expect(bits((await gradient.run(input)).gradient)).toBe(bits(expected.gradient));
      await gradient.release();
    });

    test.each([
      ["sigmoid", [flatten, dense(3)], /sigmoid loss needs one logit, found \[3\]/],
      ["softmax", [relu6], /softmax loss needs a vector of logits, found \[6, 5, 4\]/],
    ] as const)("an output that does not fit the loss is refused: %s", async (kind, layers, message) => {
      const trainable: Trainable = { ...blockOf("FROZEN", layers), loss: { kind, labelSmoothing: 0 } };
      const { engine } = engines();
      await expect(engine.compileGradient(trainable, { grains: 1, grainRows: 2 })).rejects.toThrow(message);
      await expect((async () => engine.compileEvaluation(trainable, 2))()).rejects.toThrow(message);
    });
  });
}
