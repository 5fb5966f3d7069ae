import assert from "node:assert/strict";
import { test } from "vitest";
import { backboneDigest, type Backbone } from "../../domain/network/backbone.js";
import { buildTopology } from "../../domain/network/catalog/catalog.js";
import { CodedError, type ErrorCode } from "../../domain/errors.js";
import { madeUpWeights } from "../../test/golden/made-up-weights.js";
import { encodeSafetensors } from "../safetensors/safetensors.js";
import { encodeTfjs } from "../tfjs/encode.js";
import { encodeBackbone } from "./backbone.js";
import { importBackbone, type ImportRequest } from "./import-backbone.js";

/** Networks of several files, and with their own classifiers and labels. */

async function refused(code: ErrorCode, pattern: RegExp, request: ImportRequest): Promise<void> {
  await assert.rejects(
    importBackbone(request),
    (error) => error instanceof CodedError && error.code === code && pattern.test(error.message),
  );
}

function small(): Backbone {
  const { network, preprocessing } = buildTopology("squeezenet_1.1", { width: 1, size: 64 });
  return { name: "given", network, weights: madeUpWeights(network), preprocessing, origin: "a test", licence: "CC0" };
}

/** MobileNetV2 0.35 at 96 pixels with a top of three classes in a file of its own, the rest in two. */
function inParts(): { backbone: Backbone; files: Map<string, Uint8Array> } {
  const { network, preprocessing } = buildTopology("mobilenet_v2", { width: 0.35, size: 96, top: 1000 });
  const weights = madeUpWeights(network);
  const entries = [...weights];
  const part = (from: number, to?: number): Uint8Array => encodeSafetensors(new Map(entries.slice(from, to)));
  const files = new Map([
    ["a.safetensors", part(0, 100)],
    ["b.safetensors", part(100, -2)],
    ["top.safetensors", part(-2)],
  ]);
  return { backbone: { name: "given", network, weights, preprocessing, origin: "a test", licence: "CC0" }, files };
}

test("several files make one network; its top is kept where it is asked for or labelled", async () => {
  const { backbone, files: parts } = inParts();
  const request = { name: "parts", files: parts, topology: "mobilenet_v2_0.35_96", everyFile: true };
  const without = await importBackbone(request);
  assert.equal(without.network.output, "global_average_pool");
  assert.equal(without.labels, undefined);

  const kept = await importBackbone({ ...request, keepClassifier: true });
  assert.equal(backboneDigest(kept), backboneDigest(backbone));
  const labels = Array.from({ length: 1000 }, (_, index) => `class ${index}`);
  const labelled = await importBackbone({ ...request, labels });
  assert.equal(backboneDigest(labelled), backboneDigest(backbone));
  assert.deepEqual(labelled.labels, labels);

  await refused(
    "WEIGHTS_INVALID",
    /classes do not match: layer "predictions" of mobilenet_v2_0.35_96 tells 1000 classes apart, found 999/,
    {
      ...request,
      labels: labels.slice(1),
    },
  );
  await refused("WEIGHTS_INVALID", /mobilenet_v2_0.35_96 ends in "global_average_pool", which is no classifier/, {
    ...request,
    files: new Map([...parts].slice(0, 2)),
    labels,
  });
  await refused("WEIGHTS_INVALID", /which is no classifier/, { ...request, files: new Map([...parts].slice(0, 2)), keepClassifier: true });
});

test("a file that was named and of which nothing can be read is refused, as is a prefix where the file has a topology", async () => {
  const { files: parts } = inParts();
  const squeezenet = small();
  const { network, preprocessing } = squeezenet;
  const model = encodeTfjs(network, squeezenet.weights, { preprocessing, labels: [], version: "0" });
  const several = new Map([...model, ["top.safetensors", parts.get("top.safetensors")!]]);
  await refused("FILE_FORMAT_INVALID", /top.safetensors: expected more weights beside model.json \(TensorFlow.js LayersModel\)/, {
    name: "a",
    files: several,
    everyFile: true,
  });
  assert.equal((await importBackbone({ name: "a", files: several })).network.output, "global_average_pool");
  const prefix = { strip: "conv1" };
  await refused("USAGE_INVALID", /model.json .* holds its own topology.*leave the prefix out/, { name: "a", files: model, prefix });
  const stored = new Map(Object.entries(encodeBackbone(squeezenet)));
  await refused("USAGE_INVALID", /topology.json .* holds its own topology/, { name: "a", files: stored, prefix });
  await refused("USAGE_INVALID", /leave vgg16 out/, { name: "a", files: stored, topology: "vgg16" });
  await refused("FILE_FORMAT_INVALID", /x.keras is an archive.*save a PyTorch state as safetensors, a Keras model as .h5/, {
    name: "a",
    files: new Map([["x.keras", new TextEncoder().encode("PK\u0003\u0004 and so on")]]),
  });
});

test("labels of a stored backbone come back, and its pictures may be given another size", async () => {
  const { backbone: whole } = inParts();
  const labelled = { ...whole, labels: Array.from({ length: 1000 }, (_, index) => `a\\b\n${index}`) };
  const copy = await importBackbone({ name: "given", files: new Map(Object.entries(encodeBackbone(labelled))) });
  assert.deepEqual(copy, labelled);
  assert.equal(backboneDigest(copy), backboneDigest(whole));
  const smaller = await importBackbone({
    name: "small",
    files: new Map(Object.entries(encodeBackbone(labelled))),
    preprocessing: { size: 64 },
  });
  assert.deepEqual([smaller.network.inputShape, smaller.preprocessing.size, smaller.labels], [[64, 64, 3], 64, labelled.labels]);
});
