import { expect, test } from "vitest";
import { buildTopology } from "../../../domain/network/catalog/catalog.js";
import type { Network } from "../../../domain/network/network.js";
import { addAlongTree } from "../../../domain/training/tree.js";
import { gradientInput } from "../../../test/conformance/engine/inputs.js";
import type { GradientInput, Trainable } from "../engine.js";
import { findRuntime } from "./load.js";
import { openTensorflowEngine } from "./tensorflow.js";

const threads = 2;
const missing = "missing" in findRuntime(threads);

test.skipIf(missing)(
  "MobileNetV2 from pixels, 8 grains of 4 pictures: below 2.5 GiB in all, and the same bits in calls of 1 and 8 grains",
  async () => {
    const { network, preprocessing } = buildTopology("mobilenet_v2", { width: 1, size: 224, top: undefined });
    const trainable: Trainable = {
      network: withHead(network, 102),
      loss: { kind: "softmax", labelSmoothing: 0 },
      batchNorm: "BATCH",
      preprocessing,
    };
    const engine = await openTensorflowEngine({ threads });
    const input = gradientInput(trainable, { grains: 8, grainRows: 4 }, 5);
    const whole = await (await engine.compileGradient(trainable, { grains: 8, grainRows: 4 })).run(input);
    expect(process.resourceUsage().maxRSS / 2 ** 20).toBeLessThan(2.5);

    const single = await engine.compileGradient(trainable, { grains: 1, grainRows: 4 });
    const parts = [];
    for (let first = 0; first < 8; first++) {
      const { gradient } = await single.run(grainOf(input, first));
      parts.push({ first, grains: 1, values: gradient.slice() });
    }
    const sum = addAlongTree(parts);
    expect(sum.every(Number.isFinite) && sum.some((value) => value !== 0)).toBe(true);
    expect(Buffer.compare(bytes(sum), bytes(whole.gradient))).toBe(0);
  },
);

function withHead(network: Network, units: number): Network {
  const layers = [...network.layers, { kind: "dense", units, bias: true, name: "logits", inputs: [network.output] }] as const;
  return { ...network, layers, output: "logits" };
}

function grainOf(input: GradientInput, grain: number): GradientInput {
  const part = <Data extends Float32Array | Uint8Array | Int32Array>(data: Data): Data =>
    data.subarray((grain * data.length) / 8, ((grain + 1) * data.length) / 8) as Data;
  return { ...input, features: part(input.features), labels: part(input.labels), rowWeights: part(input.rowWeights) };
}

function bytes(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}
