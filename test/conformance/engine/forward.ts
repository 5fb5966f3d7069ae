import { describe, expect, test } from "vitest";
import { elementCount, type Network, type Weights } from "../../../domain/network/network.js";
import type { Preprocessing } from "../../../domain/network/preprocessing.js";
import type { Engine } from "../../../platform/engine/engine.js";
import { referenceForward, referencePixels } from "../../support/reference-network.js";
import { bits, expectClose } from "./compare.js";
import type { Engines } from "./engines.js";
import { randoms, randomWeights } from "./inputs.js";
import { batchNorm, chain, conv, dense, depthwise, globalAveragePool, relu, relu6 } from "./layers.js";
import { networks } from "./networks.js";

export function exerciseForward(engines: Engines): void {
  describe("forward", () => {
    test.each(networks.map((network) => [network.name, network] as const))("%s", async (_, network) => {
      await expectForward(engines().engine, network, randomWeights(network, 5));
    });

    test("a map leaves the network as it lies inside: height, width, channels", async () => {
      const network = chain("map", [5, 4, 3], [conv(4, [3, 3], { bias: true }), batchNorm, relu]);
      await expectForward(engines().engine, network, randomWeights(network, 6));
    });

    test.each(["RGB", "BGR"] as const)("%s pixels: cast, channel order and normalisation are part of the graph", async (channels) => {
      const preprocessing: Preprocessing = {
        size: 6,
        resize: "STRETCH",
        resizeTo: 6,
        channels,
        mean: [103.939, 116.779, 123.68],
        deviation: [1, 2, 58.4],
      };
      const network = chain("pixels", [6, 6, 3], [relu]);
      const pixels = Uint8Array.from({ length: 2 * 108 }, (_, i) => (i * 97) % 256);
      const forward = await engines().engine.compileForward(network, new Map(), { batch: 2, preprocessing });
      const output = await forward.run(pixels, 2);
      expectClose(
        output,
        referencePixels(pixels, preprocessing).map((value) => Math.max(value, 0)),
        1e-6,
      );
      await forward.release();
    });

    test.each([1, 10, 102])("a row has the same bits at any position, fill, batch and thread count: %i outputs", async (outputs) => {
      const network = smallConvolutional(outputs);
      const weights = randomWeights(network, 8);
      const rowLength = elementCount(network.inputShape);
      const pictures = randoms(8 * rowLength, 9);
      const seen = new Map<string, Set<string>>();
      const { engine, single } = engines();
      for (const [candidate, batch] of [
        [engine, 8],
        [single, 8],
        [engine, 1],
        [single, 2],
        [engine, 3],
      ] as const) {
        const forward = await candidate.compileForward(network, weights, { batch });
        // What bits may depend on besides the row: threads and batch are 0 in a profile where they do not matter.
        const profile = JSON.stringify([candidate.forwardProfile, candidate.forwardProfile.batch === 0 ? 0 : batch]);
        for (let first = 0; first < 8; first++) {
          // Picture 5 alone, first among others, last among others.
          for (let rows = 1; rows <= batch; rows++) {
            const position = (first + rows) % rows;
            const input = pictures.slice(0, rows * rowLength);
            input.set(pictures.subarray(5 * rowLength, 6 * rowLength), position * rowLength);
            const output = await forward.run(input, rows);
            const width = output.length / rows;
            if (!seen.has(profile)) seen.set(profile, new Set());
            seen.get(profile)?.add(bits(output.subarray(position * width, (position + 1) * width)));
          }
        }
        await forward.release();
      }
      expect([...seen.values()].map(({ size }) => size)).toEqual([...seen].map(() => 1));
    });

    test("the result stays as it was when the next batch runs", async () => {
      const network = chain("fresh", [4], [relu]);
      const forward = await engines().engine.compileForward(network, new Map(), { batch: 2 });
      const first = await forward.run(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), 2);
      await forward.run(new Float32Array(8), 2);
      expect([...first]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      await forward.release();
    });
  });
}

function smallConvolutional(outputs: number): Network {
  const padding = { top: 0, bottom: 1, left: 0, right: 1 };
  return chain(
    "small",
    [24, 24, 3],
    [
      conv(24, [3, 3], { strides: [2, 2], padding }),
      batchNorm,
      relu6,
      depthwise([3, 3], { strides: [2, 2], padding, bias: true }),
      conv(70, [1, 1], { bias: true }),
      relu,
      conv(200, [3, 3], { padding, bias: true }),
      globalAveragePool,
      dense(outputs),
    ],
  );
}

async function expectForward(engine: Engine, network: Network, weights: Weights): Promise<void> {
  const width = elementCount(network.inputShape);
  const input = randoms(3 * width, 77).map((value) => value * 8);
  const forward = await engine.compileForward(network, weights, { batch: 4 });
  const output = await forward.run(input, 3);
  const expected = [0, 1, 2].flatMap((row) => [...referenceForward(network, weights, input.subarray(row * width, (row + 1) * width))]);
  expectClose(output, expected, 1e-5);
  await forward.release();
}
