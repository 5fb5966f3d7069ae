import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { randoms, randomWeights } from "../../../test/conformance/engine/inputs.js";
import { agree } from "../../../test/support/grain-program.js";
import { referenceActivations, type ReferenceWeights } from "../../../test/support/reference-network.js";
import { evaluateProgram, type ProgramInput } from "../../../test/support/reference-program.js";
import { buildTopology } from "../catalog/catalog.js";
import { elementCount, INPUT, type Network } from "../network.js";
import { layerShapes, weightSpecs } from "../shapes.js";
import { differentiate } from "./differentiate.js";

/** Each family of the catalogue at about its smallest size, with a fraction of its filters. */
const topologies: readonly { readonly topology: string; readonly size: number; readonly filters: number }[] = [
  { topology: "mobilenet_v1", size: 64, filters: 1 / 8 },
  { topology: "mobilenet_v2", size: 64, filters: 1 / 8 },
  { topology: "squeezenet_1.1", size: 64, filters: 1 / 4 },
  { topology: "inception_v3", size: 75, filters: 1 / 16 },
  { topology: "resnet18_v1", size: 64, filters: 1 / 16 },
  { topology: "resnet50_v2", size: 64, filters: 1 / 16 },
  { topology: "vgg16", size: 32, filters: 1 / 16 },
];

function narrow(network: Network, fraction: number): Network {
  const layers = network.layers.map((layer) =>
    layer.kind === "conv2d" ? { ...layer, filters: Math.max(2, Math.round(layer.filters * fraction)) } : layer,
  );
  return { ...network, layers };
}

/** Weights that neither let activations grow from block to block nor saturate a relu6. */
function weightsFor(network: Network): ReferenceWeights {
  const weights = [...randomWeights(network, 5)];
  return new Map(
    weights.map(([name, { data }]) => [name, { data: Float64Array.from(data, (value) => (name.endsWith("gamma") ? value / 2 : value)) }]),
  );
}

/** Rows of the grain, of which the last does not count with statistics of the batch. */
const countedRows = { FROZEN: [true], BATCH: [true, true, false] } as const;

describe("networks of the catalogue: the forward pass is the reference network's, and slopes along directions are the gradient's", () => {
  for (const { topology, size, filters } of topologies) {
    const network = narrow(buildTopology(topology, { width: 1, size }).network, filters);
    const modes = network.layers.some(({ kind }) => kind === "batchNorm") ? (["FROZEN", "BATCH"] as const) : (["FROZEN"] as const);
    for (const mode of modes)
      test(`${topology}, ${mode}`, () => {
        checkNetwork(network, mode);
      });
  }
});

function checkNetwork(network: Network, batchNorm: "FROZEN" | "BATCH"): void {
  const counted = countedRows[batchNorm];
  const rows = counted.length;
  const program = differentiate(network, { batchNorm });
  const weights = weightsFor(network);
  const shapes = layerShapes(network);
  const random = (layer: string, seed: number): Float32Array => randoms(rows * elementCount(shapes.get(layer) ?? []), seed);
  const features = random(INPUT, 11);
  const outputGradient = random(network.output, 13).map((value, i, { length }) => (counted[Math.floor((i * rows) / length)] ? value : 0));
  const dropouts = network.layers.filter(({ kind }) => kind === "dropout");
  const masks = new Map(dropouts.map(({ name }) => [name, random(name, 17).map((value) => (value > 0 ? 2 : 0))]));
  const input: ProgramInput = { rows, features, tensors: weights, masks, counted };
  const values = evaluateProgram(program, { ...input, outputGradient: () => outputGradient });

  // 1. The forward pass.
  const rowsOf = (whole: Float32Array): Float64Array[] =>
    counted.map((_, row) => Float64Array.from(whole).subarray((row * whole.length) / rows, ((row + 1) * whole.length) / rows));
  const reference = referenceActivations(network, weights, rowsOf(features), {
    masks: new Map([...masks].map(([name, mask]) => [name, rowsOf(mask)])),
    counted: batchNorm === "BATCH" ? counted : undefined,
  });
  const expectedOutput = reference.get(network.output)?.flatMap((row) => [...row]) ?? [];
  agree("output", values[program.output.id] ?? [], expectedOutput, 1e-11);

  // 2. The backward pass: the slope of a weighted sum of the outputs, by central differences. With steps of 1e-8 hardly any relu is at its kink.
  const trained = weightSpecs(network).flatMap(({ name, trainable }) => (trainable ? [name] : []));
  assert.deepEqual([...program.gradients.keys()].sort(), [...trained].sort());
  const step = 1e-8;
  const sumWith = (names: readonly string[], by: number): number => {
    const tensors = new Map([...weights].map(([name, tensor]) => [name, names.includes(name) ? moved(name, tensor.data, by) : tensor]));
    const output = evaluateProgram(program, { ...input, tensors })[program.output.id];
    assert.ok(output !== undefined);
    return output.reduce((sum, value, i) => sum + value * (outputGradient[i] as number), 0);
  };
  for (const names of [trained, [trained[0] as string]]) {
    const slope = (sumWith(names, step) - sumWith(names, -step)) / (2 * step);
    const expected = names.reduce((sum, name) => {
      const gradient = values[program.gradients.get(name)?.id ?? -1] as Float64Array;
      const direction = directionOf(name, weights.get(name)?.data ?? []);
      return gradient.reduce((partial, value, i) => partial + value * (direction[i] as number), sum);
    }, 0);
    assert.notEqual(expected, 0);
    assert.ok(Math.abs(slope - expected) <= 1e-6 + 1e-5 * Math.abs(expected), `${names.length} parameters: ${expected}, slope ${slope}`);
  }
}

/** A direction in which every value changes in proportion to its size. */
function directionOf(name: string, data: ArrayLike<number>): Float64Array {
  const random = randoms(data.length, name.length);
  return Float64Array.from(data, (value, i) => value * (random[i] as number));
}

function moved(name: string, data: ArrayLike<number>, by: number): { readonly data: Float64Array } {
  const direction = directionOf(name, data);
  return { data: direction.map((change, i) => (data[i] as number) + by * change) };
}
