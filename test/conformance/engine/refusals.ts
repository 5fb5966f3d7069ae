import { describe, expect, test } from "vitest";
import { INPUT, type LayerKind, type Network } from "../../../domain/network/network.js";
import { checkTrainable, type EngineName } from "../../../domain/training/trainable-layers.js";
import type { Trainable } from "../../../platform/engine/engine.js";
import { type Engines, isTrainedBy } from "./engines.js";
import { around, batchNorm, chain, conv, dense, depthwise, flatten, globalAveragePool, relu } from "./layers.js";
import { pixels, trainableOf } from "./networks.js";

/** Each thing that an engine may not be able to train, alone: the layer with which it begins, and the trained network. */
const demands: readonly (readonly [layer: string, Trainable])[] = [
  ...(
    [
      conv(2, [3, 3]),
      depthwise([3, 3]),
      batchNorm,
      { kind: "relu" },
      { kind: "relu6" },
      { kind: "sigmoid" },
      { kind: "softmax" },
      { kind: "maxPool", size: [2, 2], strides: [2, 2], padding: around(0) },
      { kind: "averagePool", size: [2, 2], strides: [2, 2], padding: around(0) },
      { kind: "zeroPad", padding: around(1) },
      { kind: "dropout", rate: 0.5 },
    ] as const satisfies readonly LayerKind[]
  ).map((kind) => [`${kind.kind}_0`, trainableOf(chain(kind.kind, [4, 4, 2], [kind, flatten, dense(3)]))] as const),
  ["globalAveragePool_0", trainableOf(chain("globalAveragePool", [4, 4, 2], [globalAveragePool, dense(3)]))],
  ["sum", trainableOf(merging({ kind: "add" }))],
  ["sum", trainableOf(merging({ kind: "concat" }))],
  ["logits", trainableOf(branching())],
  ["flatten_0", { ...pixels("RGB"), network: chain("dense layers on pixels", [6, 6, 3], [flatten, dense(3)]) }],
];

/** What an engine cannot train it refuses as the planner does; what the planner lets through it takes. */
export function exerciseRefusals(name: EngineName, engines: Engines): void {
  describe("planner and engine agree on what can be trained", () => {
    test.each(demands.map(([layer, trainable]) => [trainable.network.name, layer, trainable] as const))(
      "%s: %s",
      async (_, layer, trainable) => {
        const { engine } = engines();
        expect(engine.name).toBe(name);
        const { network: tail, preprocessing } = trainable;
        const planned = outcomeOf(() => checkTrainable(name, { tail, pixels: preprocessing !== undefined, cut: INPUT, network: tail }));
        const compiled = [
          await engine.compileGradient(trainable, { grainRows: 2, grains: 1 }).then(
            (gradient) => gradient.release(),
            (error: unknown) => error,
          ),
          await engine.compileEvaluation(trainable, 2).then(
            (evaluation) => evaluation.release(),
            (error: unknown) => error,
          ),
        ];
        if (isTrainedBy(name, trainable)) {
          expect([planned, ...compiled]).toEqual([undefined, undefined, undefined]);
          return;
        }
        for (const refusal of [planned, ...compiled]) {
          expect(refusal).toMatchObject({ code: "ENGINE_UNSUPPORTED", details: { layer } });
          const { message } = refusal as Error;
          expect(message).toContain(`"${layer}"`);
          expect(message).toContain("engine tensorflow");
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
