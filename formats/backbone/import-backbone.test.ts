import assert from "node:assert/strict";
import { beforeAll, test } from "vitest";
import { backboneDigest, type Backbone } from "../../domain/network/backbone.js";
import { buildTopology } from "../../domain/network/catalog/catalog.js";
import { classifierOf } from "../../domain/network/classifier.js";
import { appendNetwork, headNetwork } from "../../domain/network/compose.js";
import { CodedError, type ErrorCode } from "../../domain/errors.js";
import { elementCount, INPUT, type Layer, type Network, type Tensor } from "../../domain/network/network.js";
import { weightSpecs } from "../../domain/network/shapes.js";
import { encodeSafetensors } from "../safetensors/safetensors.js";
import { encodeTfjs } from "../tfjs/encode.js";
import { decodeBackbone, encodeBackbone } from "./backbone.js";
import { importBackbone, type ImportRequest } from "./import-backbone.js";
import { companionFiles } from "./weight-files.js";

function weightsFor(network: Network): Map<string, Tensor> {
  return new Map(
    weightSpecs(network).map(({ name, shape }) => [
      name,
      { shape, data: Float32Array.from({ length: elementCount(shape) }, (_, index) => ((index + name.length) % 13) / 13) },
    ]),
  );
}

function backboneOf(topology: string, width: number, size: number): Backbone {
  const { network, preprocessing } = buildTopology(topology, { width, size });
  return { name: "given", network, weights: weightsFor(network), preprocessing, origin: "a test", licence: "CC0" };
}

async function refused(code: ErrorCode, pattern: RegExp, request: ImportRequest): Promise<void> {
  await assert.rejects(
    importBackbone(request),
    (error) => error instanceof CodedError && error.code === code && pattern.test(error.message),
  );
}

let squeezenet: Backbone;
let files: Map<string, Uint8Array>;
beforeAll(() => {
  squeezenet = backboneOf("squeezenet_1.1", 1, 64);
  files = new Map([["weights.safetensors", encodeSafetensors(squeezenet.weights, new Map([["licence", "MIT"]]))]]);
});

test("the topology is the given one, or that of the name, or the one that the tensors match; the origin says which", async () => {
  const { preprocessing } = squeezenet;
  const given = await importBackbone({ name: "a", files, topology: "squeezenet_1.1_64" });
  const named = await importBackbone({ name: "squeezenet_1.1_64", files });
  const tried = await importBackbone({ name: "b", files, preprocessing: { size: 64, resizeTo: 64 } });
  for (const imported of [given, named, tried]) {
    assert.equal(backboneDigest(imported), backboneDigest(squeezenet));
    assert.deepEqual(imported.preprocessing, preprocessing);
    assert.equal(imported.licence, "MIT");
  }
  assert.match(given.origin, /safetensors; topology squeezenet_1.1_64 as given.*; plain names/);
  assert.match(named.origin, /topology by the name squeezenet_1.1_64/);
  assert.match(tried.origin, /the one topology of the catalogue that its tensors match: squeezenet_1.1_64/);
  const cited = await importBackbone({ name: "a", files, topology: "squeezenet_1.1_64", origin: "github.com/x/y", licence: "BSD" });
  assert.match(cited.origin, /^github.com\/x\/y \(safetensors/);
  assert.equal(cited.licence, "BSD");
});

test("what does not fit is refused", async () => {
  await refused("WEIGHTS_INVALID", /do not fit inception_v3_299.*they are exactly those of squeezenet_1.1_227; give --topology/, {
    name: "inception_v3",
    files,
  });
  const wide = new Map(backboneOf("mobilenet_v2", 0.35, 96).weights);
  const request = { name: "a", files: new Map([["w.safetensors", encodeSafetensors(wide)]]), topology: "mobilenet_v2_0.5_96" };
  await refused(
    "WEIGHTS_INVALID",
    /do not fit mobilenet_v2_0.5_96 \(misshaped: .*, and \d+ more such\); they are exactly those of mobilenet_v2_0.35_224/,
    request,
  );
  wide.delete("Conv1/kernel");
  await refused("WEIGHTS_INVALID", /do not fit mobilenet_v2_0.5_96 .*\d+ of its tensors are wrong.*\n.*missing: Conv1\/kernel/, {
    ...request,
    files: new Map([["w.safetensors", encodeSafetensors(wide)]]),
  });
  await refused("BACKBONE_UNKNOWN", /"alexnet" is no topology/, { name: "a", files, topology: "alexnet" });
  await refused("USAGE_INVALID", /backbone name "..\/x"/, { name: "../x", files });
  await refused("FILE_FORMAT_INVALID", /no TensorFlow.js LayersModel.*among the files given: a.bin/, {
    name: "a",
    files: new Map([["a.bin", new Uint8Array(50)]]),
  });
  await refused("FILE_FORMAT_INVALID", /tensor "conv1\/bias" is in weights.safetensors and in x.safetensors; give one/, {
    name: "a",
    files: new Map([...files, ["x.safetensors", [...files.values()][0] as Uint8Array]]),
  });
  await refused("NETWORK_INVALID", /the size must be from 48/, {
    name: "a",
    files,
    topology: "squeezenet_1.1_64",
    preprocessing: { size: 20 },
  });
  const short = new Map([...squeezenet.weights].slice(1));
  await refused("WEIGHTS_INVALID", /no topology .* the closest is squeezenet_1.1_227: .*1 of its tensors.*\n.*missing: conv1\/kernel/, {
    name: "a",
    files: new Map([["w.safetensors", encodeSafetensors(short)]]),
  });
});

test("tensors are found behind another prefix", async () => {
  const moved = new Map([...squeezenet.weights].map(([name, tensor]) => [`net.base/${name}`, tensor]));
  const request = { name: "squeezenet_1.1_64", files: new Map([["w.safetensors", encodeSafetensors(moved)]]) };
  await refused("WEIGHTS_INVALID", /100 of its tensors are wrong.*\n.*missing: conv1\/kernel/, request);
  const imported = await importBackbone({ ...request, prefix: { strip: "net.base/" } });
  assert.equal(backboneDigest(imported), backboneDigest(squeezenet));
  await refused("USAGE_INVALID", /"net.bass": no tensor's name begins with it/, { ...request, prefix: { strip: "net.bass" } });
  await refused(
    "USAGE_INVALID",
    /without "net." the names are base\/conv1\/bias, .* squeezenet_1.1_64 has no layer of such a name; expected names such as conv1\/kernel/,
    { ...request, prefix: { strip: "net." } },
  );
  // Without a word of the topology as well.
  await refused("USAGE_INVALID", /with "my." in front the names are my.net.base\/conv1\/bias/, {
    ...request,
    name: "a",
    prefix: { add: "my." },
  });
  const cut = new Map([...squeezenet.weights].map(([name, tensor]) => [name.slice(1), tensor]));
  // "conv1" lost its first letter, and so did "fire2".
  await refused("WEIGHTS_INVALID", /missing: fire2\/squeeze1x1\/kernel/, {
    name: "squeezenet_1.1_64",
    files: new Map([["w.safetensors", encodeSafetensors(cut)]]),
    prefix: { add: "c" },
  });
});

test("an exported TensorFlow.js model is the backbone again that it was made of, without its head", async () => {
  for (const [backbone, features] of [
    [squeezenet, 512],
    [backboneOf("mobilenet_v2", 0.35, 96), 1280],
  ] as const) {
    const head = headNetwork(
      [features],
      [
        { kind: "dense", units: 3, activation: "RELU" },
        { kind: "dropout", rate: 0.2 },
      ],
      2,
    );
    const joined = appendNetwork(backbone.network, head);
    const probabilities: Layer = { name: "head/probabilities", kind: "softmax", inputs: [joined.output] };
    const whole: Network = { ...joined, layers: [...joined.layers, probabilities], output: probabilities.name };
    const { preprocessing } = backbone;
    const weights = new Map([...backbone.weights, ...weightsFor(head)]);
    const exported = encodeTfjs(whole, weights, { preprocessing, labels: ["a", "b"], version: "0" });
    const model = exported.get("model.json");
    assert.ok(model);
    assert.deepEqual([...companionFiles(model), "model.json"].sort(), [...exported.keys()].sort());

    const imported = await importBackbone({ name: "again", files: exported });
    assert.equal(imported.network.output, "global_average_pool");
    assert.match(imported.origin, /its classifier above "global_average_pool" is left out/);
    if (preprocessing.channels === "RGB") assert.equal(backboneDigest(imported), backboneDigest(backbone));
    // Turning the channels round is a convolution of the exported model.
    else assert.equal(imported.network.layers.length, backbone.network.layers.length + 1);

    const kept = await importBackbone({ name: "again", files: exported, keepClassifier: true });
    assert.deepEqual(kept.labels, ["a", "b"]);
    assert.deepEqual(classifierOf(kept.network), { layer: "head/output", input: "head/relu_1", classes: 2 });
  }
});

test("a network without preprocessing, and one whose pictures have another size", async () => {
  const { network } = buildTopology("mobilenet_v2", { width: 0.35, size: 96 });
  const exported = encodeTfjs(network, weightsFor(network), { labels: [], version: "0" });
  await refused("USAGE_INVALID", /neither its name nor its file says how pictures are prepared/, { name: "mine", files: exported });
  const values = { channels: "RGB", mean: [1, 2, 3], deviation: [4, 5, 6] } as const;
  const imported = await importBackbone({ name: "mine", files: exported, preprocessing: { ...values, size: 128 } });
  assert.deepEqual(imported.preprocessing, { ...values, size: 128, resize: "STRETCH", resizeTo: 128 });
  assert.deepEqual(imported.network.inputShape, [128, 128, 3]);
  // ResNets are cropped; a resizeTo for that must not stay behind where the whole picture is wanted.
  const like = { name: "mine", files: exported, topology: "resnet18_v1" };
  const { resize, resizeTo } = (await importBackbone(like)).preprocessing;
  assert.deepEqual([resize, resizeTo], ["SHORT_SIDE", 110]);
  const stretched = (await importBackbone({ ...like, preprocessing: { resize: "STRETCH" } })).preprocessing;
  assert.deepEqual([stretched.resize, stretched.resizeTo], ["STRETCH", 96]);
  await refused("FILE_FORMAT_INVALID", /names the weight file "group1-shard1of1.bin", which is not there/, {
    name: "mine",
    files: new Map([...exported].filter(([name]) => name === "model.json")),
  });
});

test("the folder's name may say how pictures are prepared, whatever name is given", async () => {
  const { network, preprocessing } = buildTopology("mobilenet_v2", { width: 0.35, size: 96 });
  const exported = encodeTfjs(network, weightsFor(network), { labels: [], version: "0" });
  const imported = await importBackbone({ name: "mine", sourceName: "mobilenet_v2_0.35_96", files: exported });
  assert.deepEqual(imported.preprocessing, preprocessing);
});

test("a network that ends in a map of features is pooled", async () => {
  const { network } = buildTopology("mobilenet_v2", { width: 0.35, size: 96 });
  const unpooled: Network = { ...network, layers: network.layers.slice(0, -1), output: "out_relu" };
  const imported = await importBackbone({
    name: "mobilenet_v2_0.35_96",
    files: encodeTfjs(unpooled, weightsFor(unpooled), { labels: [], version: "0" }),
  });
  assert.equal(imported.network.output, "global_average_pool");
  assert.match(imported.origin, /global_average_pool added/);
});

test("a stored backbone is read back with its digest, and its files can be added again", async () => {
  const encoded = encodeBackbone(squeezenet);
  const { backbone, digest } = decodeBackbone(encoded);
  assert.equal(digest, backboneDigest(squeezenet));
  assert.deepEqual(backbone, squeezenet);
  const imported = await importBackbone({ name: "copy", files: new Map(Object.entries(encoded)) });
  assert.deepEqual(imported, { ...squeezenet, name: "copy" });
});

test("the digest covers topology, weights and preprocessing, and no name", () => {
  const digest = backboneDigest(squeezenet);
  const { network, preprocessing, weights } = squeezenet;
  assert.equal(backboneDigest({ ...squeezenet, network: { ...network, name: "other" } }), digest);
  const changed = new Map(weights).set("conv1/bias", { shape: [64], data: new Float32Array(64).fill(0.5) });
  assert.notEqual(backboneDigest({ ...squeezenet, weights: changed }), digest);
  assert.notEqual(backboneDigest({ ...squeezenet, preprocessing: { ...preprocessing, channels: "RGB" } }), digest);
  assert.notEqual(backboneDigest({ ...squeezenet, network: { ...network, output: "fire9/concat" } }), digest);
});

test("a damaged stored backbone is refused and its fault named", () => {
  const encoded = encodeBackbone(squeezenet);
  const topology = JSON.parse(new TextDecoder().decode(encoded["topology.json"])) as {
    formatVersion: number;
    network: { layers: Record<string, unknown>[] };
  };
  const refusedAs = (code: ErrorCode, pattern: RegExp, change: (copy: typeof topology) => void): void => {
    const copy = structuredClone(topology);
    change(copy);
    const bytes = new TextEncoder().encode(JSON.stringify(copy));
    assert.throws(
      () => decodeBackbone({ ...encoded, "topology.json": bytes }),
      (error) => error instanceof CodedError && error.code === code && pattern.test(error.message),
    );
  };
  refusedAs("STORE_FORMAT_NEWER", /version 1 is known, found 2/, (copy) => (copy.formatVersion = 2));
  refusedAs(
    "FILE_FORMAT_INVALID",
    /layers\[0\].kind "lambda" is not known/,
    (copy) => (copy.network.layers[0] = { name: "x", kind: "lambda", inputs: [INPUT] }),
  );
  refusedAs("FILE_FORMAT_INVALID", /unknown field "surprise"/, (copy) => Object.assign(copy.network.layers[0] ?? {}, { surprise: 1 }));
  refusedAs("FILE_FORMAT_INVALID", /layers\[0\].filters must be a whole number/, (copy) =>
    Object.assign(copy.network.layers[0] ?? {}, { filters: "64" }),
  );
  refusedAs("WEIGHTS_INVALID", /misshaped: conv1\/kernel/, (copy) => Object.assign(copy.network.layers[0] ?? {}, { kernel: [5, 5] }));
});
