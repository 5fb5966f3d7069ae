import { describe, expect, test } from "vitest";
import { INPUT, type LayerKind, type Network } from "../../../domain/network/network.js";
import { checkTrainable, type EngineName } from "../../../domain/training/trainable-layers.js";
import type { Trainable } from "../../../platform/engine/engine.js";
import type { Engines } from "./engines.js";
import { around, batchNorm, chain, conv, dense, depthwise, flatten, globalAveragePool, relu } from "./layers.js";
import { pixels, trainableOf } from "./networks.js";

const everyEngine: readonly EngineName[] = ["onnx", "tensorflow"];
const onnx: readonly EngineName[] = ["onnx"];

/** Each thing that an engine might not be able to train, alone: the layer with which it begins, the engines that can, and the trained network. */
const demands: readonly (readonly [layer: string, can: readonly EngineName[], Trainable])[] = [
  ...(
    [
      [everyEngine, { kind: "relu" }],
      [everyEngine, { kind: "relu6" }],
      [everyEngine, { kind: "sigmoid" }],
      [everyEngine, { kind: "dropout", rate: 0.5 }],
      [everyEngine, conv(2, [3, 3])],
      [everyEngine, depthwise([3, 3])],
      [onnx, depthwise([3, 3], { strides: [1, 2] })],
      [everyEngine, batchNorm],
      [everyEngine, { kind: "softmax" }],
      [everyEngine, { kind: "maxPool", size: [2, 2], strides: [2, 2], padding: around(0) }],
      [everyEngine, { kind: "averagePool", size: [2, 2], strides: [2, 2], padding: around(0) }],
      [everyEngine, { kind: "zeroPad", padding: around(1) }],
    ] as const satisfies readonly (readonly [readonly EngineName[], LayerKind])[]
  ).map(([can, kind]) => [`${kind.kind}_0`, can, trainableOf(chain(kind.kind, [4, 4, 2], [kind, flatten, dense(3)]))] as const),
  ["globalAveragePool_0", everyEngine, trainableOf(chain("globalAveragePool", [4, 4, 2], [globalAveragePool, dense(3)]))],
  ["sum", everyEngine, trainableOf(merging({ kind: "add" }))],
  ["sum", everyEngine, trainableOf(merging({ kind: "concat" }))],
  ["logits", everyEngine, trainableOf(branching())],
  ["flatten_0", everyEngine, { ...pixels("RGB"), network: chain("dense layers on pixels", [6, 6, 3], [flatten, dense(3)]) }],
];

/** What an engine cannot train it refuses as the planner does; what the planner lets through it takes. */
export function exerciseRefusals(name: EngineName, engines: Engines): void {
  describe("planner and engine agree on what can be trained", () => {
    test.each(demands.map(([layer, can, trainable]) => [trainable.network.name, layer, can.join(", "), can, trainable] as const))(
      "%s, %s: %s",
      async (_, layer, __, can, trainable) => {
        const { engine } = engines();
        expect(engine.name).toBe(name);
        const { network: tail, preprocessing } = trainable;
        const planned = outcomeOf(() => checkTrainable(name, { tail, pixels: preprocessing !== undefined, cut: INPUT, network: tail }));
        const compiled = await engine.compileGradient(trainable, { grainRows: 2, grains: 1 }).then(
          (gradient) => gradient.release(),
          (error: unknown) => error,
        );
        if (can.includes(name)) {
          expect([planned, compiled]).toEqual([undefined, undefined]);
          return;
        }
        for (const refusal of [planned, compiled]) {
          expect(refusal).toMatchObject({ code: "ENGINE_UNSUPPORTED", details: { layer, engines: can } });
          const { message } = refusal as Error;
          for (const part of [`engine ${name}`, `"${layer}"`, ...can.map((other) => `use engine ${other}`)])
            expect(message).toContain(part);
        }
      },
    );
  });
}

function outcomeOf(check: () => void): unknown {
  try {
    check();
  } catch (error) {
    return error;
  }
  return undefined;
}

function merging(kind: LayerKind & { readonly kind: "add" | "concat" }): Network {
  const layers: Network["layers"] = [
    { ...dense(3), name: "hidden", inputs: [INPUT] },
    { ...kind, name: "sum", inputs: ["hidden", "hidden"] },
    { ...dense(2), name: "logits", inputs: ["sum"] },
  ];
  return { name: kind.kind, inputShape: [4], layers, output: "logits" };
}

/** A layer that takes another than the one before it. */
function branching(): Network {
  const layers: Network["layers"] = [
    { ...dense(3), name: "hidden", inputs: [INPUT] },
    { ...relu, name: "aside", inputs: ["hidden"] },
    { ...dense(2), name: "logits", inputs: ["hidden"] },
  ];
  return { name: "a chain that branches", inputShape: [4], layers, output: "logits" };
}
