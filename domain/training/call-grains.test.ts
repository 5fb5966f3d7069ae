import { expect, test } from "vitest";
import { buildTopology } from "../network/catalog/catalog.js";
import { cutAt } from "../network/cut.js";
import { INPUT, type Network } from "../network/network.js";
import { grainsOfCall, lanesOfCall } from "./call-grains.js";

const { network } = buildTopology("mobilenet_v2", { width: 1, size: 224, top: undefined });
const { tail } = cutAt(network, "block_15_add");
const head: Network = {
  name: "head",
  inputShape: [1280],
  layers: [{ kind: "dense", name: "logits", units: 102, bias: true, inputs: [INPUT] }],
  output: "logits",
};

test("all grains of a head or of a last block share a call, and those of a whole network at 224 pixels have one each", () => {
  expect(grainsOfCall(head, "FROZEN", 32, 8)).toBe(8);
  expect(grainsOfCall(tail as Network, "FROZEN", 4, 8)).toBe(8);
  expect(grainsOfCall(network, "FROZEN", 4, 8)).toBe(1);
  const small = buildTopology("mobilenet_v2", { width: 1, size: 96, top: undefined });
  expect(grainsOfCall(small.network, "FROZEN", 2, 8)).toBe(4);
  expect(grainsOfCall(network, "FROZEN", 32, 1)).toBe(1);
});

test("with statistics of the batch there is one grain a call, where there is batch norm", () => {
  expect(grainsOfCall(tail as Network, "BATCH", 4, 8)).toBe(1);
  expect(grainsOfCall(head, "BATCH", 32, 8)).toBe(8);
});

test("lanes: as many as threads and grains, a power of two, more than two while what they hold together is within bounds", () => {
  expect([1, 2, 3, 4, 16].map((threads) => lanesOfCall(tail as Network, "FROZEN", 4, 8, threads))).toEqual([1, 2, 2, 4, 8]);
  expect(lanesOfCall(tail as Network, "FROZEN", 32, 1, 16)).toBe(1);
  expect(lanesOfCall(tail as Network, "FROZEN", 16, 2, 16)).toBe(2);
  for (const batchNorm of ["FROZEN", "BATCH"] as const) {
    expect([1, 2, 16].map((threads) => lanesOfCall(network, batchNorm, 4, 8, threads))).toEqual([1, 2, 2]);
  }
});
