import { expect, test } from "vitest";
import { CodedError } from "../errors.js";
import { cutAt } from "../network/cut.js";
import type { Network } from "../network/network.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { checkTrainable } from "./trainable-layers.js";

const { network } = buildTopology("mobilenet_v2", { width: 0.35, size: 96, top: undefined });
test("a cut at the output leaves nothing above it to refuse", () => {
  expect(() => check(network, "global_average_pool")).not.toThrow();
});

test("a convolution above the cut is refused, and the earliest cut that can be trained is named", () => {
  const refusal = refusalOf("block_15_add");
  expect(refusal).toMatchObject({ code: "ENGINE_UNSUPPORTED", details: { layer: "block_16_expand", earliest: "global_average_pool" } });
  expect(refusal.message).toBe(
    `cut "block_15_add": the layers of ${network.name} above it are trained, and engine onnx cannot train layer "block_16_expand" (conv2d); use engine tensorflow (trainers.engine, --engine), or choose a cut at or after "global_average_pool"`,
  );
});

test("dense layers above the cut are no obstacle", () => {
  const withDense = {
    ...network,
    layers: [
      ...network.layers,
      { kind: "dense" as const, name: "hidden", units: 8, bias: true, inputs: ["global_average_pool"] as [string] },
      { kind: "relu" as const, name: "hidden_relu", inputs: ["hidden"] as [string] },
    ],
    output: "hidden_relu",
  };
  expect(() => check(withDense, "global_average_pool")).not.toThrow();
  expect(() => check(withDense, "block_15_add")).toThrow(/at or after "global_average_pool"/);
});

function check(of: Network, cut: string): void {
  checkTrainable("onnx", { network: of, cut, tail: cutAt(of, cut).tail });
}

function refusalOf(cut: string): CodedError {
  try {
    check(network, cut);
  } catch (error) {
    if (error instanceof CodedError) return error;
  }
  throw new Error(`cut ${cut} was not refused`);
}
