import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "vitest";
import { buildTopology } from "../../domain/network/catalog/catalog.js";
import { elementCount, INPUT, type Layer, type Network, type Shape, type Tensor, type Weights } from "../../domain/network/network.js";
import { layerShapes, weightSpecs } from "../../domain/network/shapes.js";
import { importBackbone } from "../../formats/backbone/import-backbone.js";
import { encodeSafetensors } from "../../formats/safetensors/safetensors.js";
import type { Engine } from "../../platform/engine/engine.js";
import { openOnnxEngine } from "../../platform/engine/onnx/onnx.js";
import { madeUpPicture, madeUpTensor, madeUpWeights } from "./made-up-weights.js";

/** Every topology of the catalogue, layer by layer, against what its original implementation gave for the same weights and picture (topologies_*.py). */
interface Figures {
  readonly shape: Shape;
  readonly mean: number;
  readonly rms: number;
  readonly values: readonly number[];
}

interface Original {
  readonly topology: string;
  readonly width: number;
  readonly size: number;
  readonly top: number | null;
  /** Names and shapes of the tensors as the original saves them. */
  readonly state?: Readonly<Record<string, Shape>>;
  readonly layers: Readonly<Record<string, Figures>>;
}

/** Of a layer's root mean square. Two orders of adding up differ by about 1e-6 a layer, and deviations grow on their way through some 100 layers. */
const tolerance = 2e-4;

const originals = ["keras", "torch", "gluon"].flatMap((framework) => {
  const text = readFileSync(join(import.meta.dirname, `topologies_${framework}.json`), "utf8");
  const { networks } = JSON.parse(text) as { readonly networks: readonly Original[] };
  return networks.map((network) => ({ framework, ...network }));
});

describe.each(originals)("$topology $width at $size, top $top, by $framework", ({ topology, width, size, top, state, layers }) => {
  const { network } = buildTopology(topology, { width, size, top: top ?? undefined });
  const picture = madeUpPicture(size);

  test("every layer gives what the original's gives", async () => {
    const engine = await openOnnxEngine({ threads: 1 });
    const activations = await layerByLayer(engine, network, madeUpWeights(network), picture);
    const compared = new Set<string>();
    for (const [name, figures] of Object.entries(layers)) {
      const activation = activations.get(name);
      assert.ok(activation, `no layer is named ${name}`);
      assert.deepEqual(activation.shape, figures.shape, name);
      compare(activation.data, figures, name);
      compared.add(name);
    }
    // What the original does inside another layer, or has no name for.
    const inside = network.layers.filter(({ name }) => !compared.has(name)).map(({ name }) => name);
    const expected = topology === "vgg16" ? /^(block\d_conv\d|fc\d)$|^global_average_pool$/ : /^global_average_pool$/;
    assert.deepEqual(
      inside.filter((name) => !expected.test(name)),
      [],
    );
  });

  test("the whole network in one graph, its batch norms folded, gives the original's last layer", async () => {
    const last = network.layers.findLast(({ name }) => layers[name] !== undefined) as Layer;
    const whole: Network = {
      ...network,
      layers: network.layers.slice(0, network.layers.indexOf(last) + 1),
      output: last.name,
    };
    const engine = await openOnnxEngine({ threads: 1 });
    const forward = await engine.compileForward(whole, madeUpWeights(whole), { batch: 1 });
    compare(await forward.run(picture, 1), layers[last.name] as Figures, last.name);
    await forward.release();
  });

  if (state === undefined) return; // what Keras saves is read in formats/backbone
  const saved = state;
  test("a file as the original saves it is imported without a word from the user, as the same network", async () => {
    const expected = madeUpWeights(network);
    const file = encodeSafetensors(originalState(network, saved));
    const request = { name: "imported", files: new Map([["model.safetensors", file]]), keepClassifier: true };
    const imported = await importBackbone({ ...request, preprocessing: { size } });
    assert.deepEqual(imported.network.layers, network.layers);
    for (const { name } of weightSpecs(network)) assert.deepEqual(imported.weights.get(name), expected.get(name), name);
  });
});

/** Our tensors under the original's names and in its order of axes; the kind of a tensor is known by the layer that it belongs to. */
function originalState(network: Network, state: Readonly<Record<string, Shape>>): Map<string, Tensor> {
  const kinds = new Map(network.layers.map(({ name, kind }) => [name, kind]));
  return new Map(
    Object.entries(state).map(([name, shape]) => {
      const dot = name.lastIndexOf(".");
      const [layer, part] = [name.slice(0, dot), name.slice(dot + 1)];
      const norm = kinds.get(layer) === "batchNorm";
      const ours: Readonly<Record<string, string>> = {
        weight: norm ? "gamma" : "kernel",
        bias: norm ? "beta" : "bias",
        running_mean: "moving_mean",
        running_var: "moving_variance",
      };
      if (name === "features.0.beta" || part === "num_batches_tracked")
        return [name, { shape, data: new Float32Array(elementCount(shape)) }];
      const [outputs = 1, inputs = 1, height = 1, kernelWidth = 1] = shape;
      if (shape.length < 2) return [name, madeUpTensor(`${layer}/${ours[part] ?? part}`, shape)];
      const turned = shape.length === 4 ? [height, kernelWidth, inputs, outputs] : [inputs, outputs];
      const { data } = madeUpTensor(`${layer}/kernel`, turned);
      // [taps, in, out] to [out, in, taps].
      const taps = height * kernelWidth;
      const values = new Float32Array(data.length);
      for (let tap = 0; tap < taps; tap++)
        for (let i = 0; i < inputs; i++)
          for (let o = 0; o < outputs; o++) values[(o * inputs + i) * taps + tap] = data[(tap * inputs + i) * outputs + o]!;
      return [name, { shape, data: values }];
    }),
  );
}

/** Each layer as a network of its own, fed with what the layers before gave. */
async function layerByLayer(engine: Engine, network: Network, weights: Weights, picture: Float32Array): Promise<Map<string, Tensor>> {
  const shapes = layerShapes(network);
  const values = new Map<string, Tensor>([[INPUT, { shape: network.inputShape, data: picture }]]);
  for (const layer of network.layers) {
    const inputs = layer.inputs.map((name) => values.get(name) as Tensor);
    values.set(layer.name, { shape: shapes.get(layer.name) as Shape, data: await activationOf(engine, layer, inputs, weights) });
  }
  return values;
}

async function activationOf(engine: Engine, layer: Layer, inputs: readonly Tensor[], weights: Weights): Promise<Float32Array> {
  const [first] = inputs as [Tensor];
  if (layer.kind === "add") return first.data.map((_, i) => inputs.reduce((sum, { data }) => sum + data[i]!, 0));
  if (layer.kind === "concat") {
    const rows = first.data.length / first.shape.at(-1)!;
    const parts = Array.from({ length: rows }, (_, row) =>
      inputs.map(({ data }) => data.subarray((row * data.length) / rows, ((row + 1) * data.length) / rows)),
    );
    return Float32Array.from(parts.flat().flatMap((part) => [...part]));
  }
  const alone: Network = { name: layer.name, inputShape: first.shape, layers: [{ ...layer, inputs: [INPUT] }], output: layer.name };
  const forward = await engine.compileForward(alone, weights, { batch: 1 });
  try {
    return await forward.run(first.data, 1);
  } finally {
    await forward.release();
  }
}

function compare(found: Float32Array, { shape, mean, rms, values }: Figures, layer: string): void {
  const close = (what: string, value: number, expected: number): void =>
    assert.ok(
      Math.abs(value - expected) <= tolerance * rms,
      `layer ${layer}: ${what} ${value}, expected ${expected} (root mean square ${rms})`,
    );
  assert.equal(found.length, elementCount(shape), layer);
  close("mean", found.reduce((sum, value) => sum + value, 0) / found.length, mean);
  close("root mean square", Math.sqrt(found.reduce((sum, value) => sum + value * value, 0) / found.length), rms);
  for (const [i, value] of values.entries()) {
    const place = Math.floor((found.length * i) / 5);
    close(`value ${place}`, found[place] ?? Number.NaN, value);
  }
}
