import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { File, ready } from "h5wasm";
import { test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { decodeKerasH5 } from "./decode.js";

let filesWritten = 0;

/** A file as Keras 2 writes it; `weights` by layer and the weight's own name. */
async function kerasFile(
  weights: Readonly<Record<string, Readonly<Record<string, Float32Array>>>>,
  modelConfig?: string,
): Promise<Uint8Array> {
  const { FS } = await ready;
  const path = `test-${++filesWritten}.h5`;
  const file = new File(path, "w");
  if (modelConfig !== undefined) file.create_attribute("model_config", modelConfig);
  const root = modelConfig === undefined ? file : file.create_group("model_weights");
  root.create_attribute("layer_names", Object.keys(weights));
  for (const [layer, tensors] of Object.entries(weights)) {
    const group = root.create_group(layer);
    group.create_attribute("weight_names", Object.keys(tensors));
    for (const [name, data] of Object.entries(tensors)) {
      const folder = name.slice(0, Math.max(0, name.lastIndexOf("/")));
      if (folder !== "" && group.get(folder) === null) group.create_group(folder);
      group.create_dataset({ name, data, shape: [data.length] });
    }
  }
  file.close();
  const bytes = FS.readFile(path);
  FS.unlink(path);
  return bytes;
}

const model = JSON.stringify({
  class_name: "Sequential",
  config: {
    name: "s",
    layers: [{ class_name: "Dense", config: { name: "dense", units: 2, use_bias: false, batch_input_shape: [null, 3] } }],
  },
});

function refusedWith(pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof CodedError && error.code === "FILE_FORMAT_INVALID" && pattern.test(error.message);
}

test("weights only: names with the layer said twice, once, or in the style of Keras 1", async () => {
  const bytes = await kerasFile({
    conv1: { "conv1/kernel:0": Float32Array.of(1, 2), "conv1/bias:0": Float32Array.of(3) },
    conv2: { conv2_W: Float32Array.of(4), conv2_b: Float32Array.of(5) },
    conv3: { uniform7: Float32Array.of(6) },
  });
  const { model: none, tensors } = await decodeKerasH5(bytes);
  assert.equal(none, undefined);
  assert.deepEqual([...tensors.keys()], ["conv1/kernel:0", "conv1/bias:0", "conv2/W", "conv2/b", "conv3/uniform7"]);
  assert.deepEqual(tensors.get("conv1/kernel:0"), { shape: [2], data: Float32Array.of(1, 2) });
});

test("a whole model has its network, and the weights of a model inside it name their own layers", async () => {
  const { model: read, tensors } = await decodeKerasH5(
    await kerasFile(
      { inner: { "a/kernel:0": Float32Array.of(1), "b/kernel:0": Float32Array.of(2) }, dense: { "dense/kernel:0": Float32Array.of(3) } },
      model,
    ),
  );
  assert.deepEqual(
    read?.network.layers.map(({ name }) => name),
    ["dense"],
  );
  assert.deepEqual([...tensors.keys()], ["a/kernel:0", "b/kernel:0", "dense/kernel:0"]);
});

test("a file that is none, is cut short or was not saved by Keras is refused", async () => {
  const bytes = await kerasFile({ conv1: { "conv1/kernel:0": new Float32Array(5_000) } });
  await assert.rejects(decodeKerasH5(new Uint8Array(100)), refusedWith(/does not begin as an HDF5 file/));
  await assert.rejects(decodeKerasH5(bytes.subarray(0, bytes.length / 2)), refusedWith(/HDF5 file/));
  await assert.rejects(decodeKerasH5(await kerasFile({}, "{")), refusedWith(/model_config is no JSON/));

  const { FS } = await ready;
  const foreign = new File("foreign.h5", "w");
  foreign.create_dataset({ name: "x", data: new Float32Array(3) });
  foreign.close();
  await assert.rejects(decodeKerasH5(FS.readFile("foreign.h5")), refusedWith(/no layer_names at \/; it was not saved by Keras/));
  FS.unlink("foreign.h5");
});

/** The package's types leave the listing open. */
function fileCount(fs: { readdir(path: string): unknown }): number {
  const names = fs.readdir(".");
  assert.ok(Array.isArray(names));
  return names.length;
}

test("a reader that was refused leaves nothing behind, and the next one works", async () => {
  const { FS } = await ready;
  const before = fileCount(FS);
  const bytes = await kerasFile({ a: { "a/kernel:0": Float32Array.of(1) } });
  for (let round = 0; round < 3; round++) await assert.rejects(decodeKerasH5(bytes.subarray(0, 100)));
  assert.equal((await decodeKerasH5(bytes)).tensors.size, 1);
  assert.equal(fileCount(FS), before);
});

const data = process.env["GRAFT_TEST_DATA"];
test.skipIf(data === undefined)("the published SqueezeNet file is read (needs GRAFT_TEST_DATA)", async () => {
  const path = `${data}/weights/squeezenet_1.1_notop/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5`;
  const { tensors } = await decodeKerasH5(readFileSync(path));
  assert.equal(tensors.size, 50);
  assert.deepEqual(tensors.get("fire2/squeeze1x1/uniform2")?.shape, [1, 1, 64, 16]);
  assert.ok(tensors.has("fire9/expand3x3/b"));
});
