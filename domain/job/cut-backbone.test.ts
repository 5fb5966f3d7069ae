import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError } from "../errors.js";
import type { Backbone } from "../network/backbone.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { INPUT } from "../network/network.js";
import { cutBackbone, type CutBackbone } from "./cut-backbone.js";

function cut(topology: string, top: number | undefined, job: { cut?: string; size?: number; lastLayer?: string } = {}): CutBackbone {
  const built = buildTopology(topology, { width: 1, size: 96, top });
  const backbone: Backbone = { ...built, name: "b", weights: new Map(), origin: "", licence: "" };
  const preprocessing = job.size === undefined ? {} : { size: job.size };
  return cutBackbone({ backbone: { lastLayer: job.lastLayer }, cut: job.cut, preprocessing }, backbone);
}

test("a classifier of the backbone's own is left out: cut and tail are those of the network without it", () => {
  for (const job of [{}, { cut: "block_15_add" }, { cut: INPUT }, { cut: "block_15_add", size: 64 }]) {
    const [whole, headless] = [cut("mobilenet_v2", 1001, job), cut("mobilenet_v2", undefined, job)];
    for (const part of ["prefix", "tail", "network"] as const) assert.deepEqual(whole[part]?.layers, headless[part]?.layers);
    assert.equal(whole.cut, headless.cut);
  }
  assert.equal(cut("mobilenet_v2", 1001).cut, "global_average_pool");
});

test("of several dense layers only the classifier is left out", () => {
  assert.equal(cut("vgg16", 1000).cut, "fc2_relu");
  assert.deepEqual(
    cut("vgg16", 1000, { cut: "fc1_relu" }).tail?.layers.map(({ name }) => name),
    ["fc2", "fc2_relu"],
  );
});

test("a cut in the classifier keeps it, and an unknown one is refused", () => {
  const { prefix, tail, network } = cut("mobilenet_v2", 1001, { cut: "predictions" });
  assert.equal(prefix.layers.at(-1)?.name, "predictions");
  assert.equal(tail, undefined);
  assert.equal(network.output, "predictions");
  assert.throws(
    () => cut("mobilenet_v2", 1001, { cut: "prediction" }),
    (error) => error instanceof CodedError && error.code === "CUT_ILLEGAL" && /did you mean "predictions"/.test(error.message),
  );
});

test("a last layer leaves out what comes after it; the cut is there by default, or below it", () => {
  const { tail, cut: at, featureShape } = cut("mobilenet_v2", 1001, { lastLayer: "block_13_project_BN" });
  assert.deepEqual([tail, at, featureShape], [undefined, "block_13_project_BN", [3, 3, 160]]);
  const below = cut("mobilenet_v2", 1001, { lastLayer: "block_13_project_BN", cut: "block_12_add" });
  assert.equal(below.tail?.output, "block_13_project_BN");
  assert.throws(() => cut("mobilenet_v2", 1001, { lastLayer: "block_12_add", cut: "block_15_add" }), /cut "block_15_add"/);
});

test("at the input pictures themselves are the features, and everything is trained", () => {
  const { prefix, tail, featureShape, pixels } = cut("mobilenet_v2", undefined, { cut: INPUT });
  assert.deepEqual([prefix.layers, featureShape, pixels], [[], [96, 96, 3], true]);
  assert.equal(tail?.layers.length, buildTopology("mobilenet_v2", { width: 1, size: 96, top: undefined }).network.layers.length);
  assert.equal(cut("mobilenet_v2", undefined).pixels, false);
});
