import { beforeAll, describe, expect, test } from "vitest";
import type { Layer, LayerKind, Network, Weights } from "../../domain/network/network.js";
import { elementCount, INPUT } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { layerShapes, weightSpecs } from "../../domain/network/shapes.js";
import type { LossSpec } from "../../domain/training/loss.js";
import { parameterLayout, statisticsLayout, tensorsOf } from "../../domain/training/parameters.js";
import { addAlongTree } from "../../domain/training/tree.js";
import type { Engine, GradientInput, GradientSums, Trainable } from "../../platform/engine/engine.js";
import { referenceForward, referenceLoss } from "../support/reference-network.js";

/** What every engine promises. `threads` are the counts that the forward pass is compared over. */
export function exerciseEngine(name: string, open: (threads: number) => Promise<Engine>): void {
  describe(`engine ${name}`, () => {
    let engine: Engine;
    let single: Engine;
    beforeAll(async () => {
      engine = await open(2);
      single = await open(1);
    });

    describe("forward", () => {
      test.each(Object.entries(layerCases))("%s means what the description says", async (_, layers) => {
        const network = chain("layer", [7, 7, 3], layers);
        const weights = randomWeights(network, 5);
        await expectForward(engine, network, weights);
      });

      test("layers on vectors: dense, batch norm, sigmoid, softmax, dropout", async () => {
        const kinds: LayerKind[] = [
          { kind: "flatten" },
          { kind: "dense", units: 9, bias: true },
          { kind: "batchNorm", epsilon: 1e-3, scale: true, center: true },
          { kind: "sigmoid" },
          { kind: "dropout", rate: 0.5 },
          { kind: "dense", units: 4, bias: false },
          { kind: "softmax" },
        ];
        const network = chain("vectors", [3, 2, 5], kinds);
        await expectForward(engine, network, randomWeights(network, 6));
      });

      test("branches: add and concat", async () => {
        const conv = { kind: "conv2d", filters: 4, kernel: [1, 1], strides: [1, 1], padding: none, bias: true } as const;
        const layers: Layer[] = [
          { ...conv, name: "a", inputs: [INPUT] },
          { ...conv, name: "b", inputs: [INPUT] },
          { kind: "add", name: "sum", inputs: ["a", "b", "a"] },
          { kind: "relu", name: "relu", inputs: ["sum"] },
          { kind: "concat", name: "both", inputs: ["relu", INPUT, "b"] },
        ];
        const network: Network = { name: "branches", inputShape: [5, 4, 3], layers, output: "both" };
        await expectForward(engine, network, randomWeights(network, 7));
      });

      test("pixels: cast, channel order and normalisation are part of the graph", async () => {
        const preprocessing: Preprocessing = {
          size: 6,
          resize: "STRETCH",
          resizeTo: 6,
          channels: "BGR",
          mean: [103.939, 116.779, 123.68],
          deviation: [1, 2, 58.4],
        };
        const network = chain("pixels", [6, 6, 3], [{ kind: "relu" }]);
        const pixels = Uint8Array.from({ length: 2 * 108 }, (_, i) => (i * 97) % 256);
        const forward = await engine.compileForward(network, new Map(), { batch: 2, preprocessing });
        const output = await forward.run(pixels, 2);
        const expected = Array.from(pixels, (_, i) => {
          const channel = i % 3;
          const value =
            ((pixels[i - channel + (2 - channel)] as number) - (preprocessing.mean[channel] as number)) /
            (preprocessing.deviation[channel] as number);
          return Math.max(value, 0);
        });
        expectClose(output, expected, 1e-6);
        await forward.release();
      });

      test.each([1, 10, 102])("a row has the same bits at any position, fill, batch and thread count: %i outputs", async (outputs) => {
        const network = smallConvolutional(outputs);
        const weights = randomWeights(network, 8);
        const rowLength = elementCount(network.inputShape);
        const pictures = randoms(8 * rowLength, 9);
        const seen = new Set<string>();
        for (const [candidate, batch] of [
          [engine, 8],
          [single, 8],
          [engine, 1],
          [single, 2],
          [engine, 3],
        ] as const) {
          const forward = await candidate.compileForward(network, weights, { batch });
          for (let first = 0; first < 8; first++) {
            // Picture 5 alone, first among others, last among others.
            for (let rows = 1; rows <= batch; rows++) {
              const position = (first + rows) % rows;
              const input = pictures.slice(0, rows * rowLength);
              input.set(pictures.subarray(5 * rowLength, 6 * rowLength), position * rowLength);
              const output = await forward.run(input, rows);
              const width = output.length / rows;
              seen.add(bits(output.subarray(position * width, (position + 1) * width)));
            }
          }
          await forward.release();
        }
        expect(seen.size).toBe(1);
      });

      test("the result stays as it was when the next batch runs", async () => {
        const network = chain("fresh", [4], [{ kind: "relu" }]);
        const forward = await engine.compileForward(network, new Map(), { batch: 2 });
        const first = await forward.run(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), 2);
        await forward.run(new Float32Array(8), 2);
        expect([...first]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
        await forward.release();
      });
    });

    describe("gradient", () => {
      const shapes = [
        ...[1, 2, 5, 10, 102, 1000].map((classes) => ({ features: 1280, hidden: [] as number[], classes, grainRows: 12 })),
        ...[2, 4, 13, 32].map((grainRows) => ({ features: 512, hidden: [], classes: 102, grainRows })),
        ...[3, 7].map((grainRows) => ({ features: 512, hidden: [], classes: 1, grainRows })),
        ...[1, 3, 10, 1000].map((classes) => ({ features: 7, hidden: [], classes, grainRows: 4 })),
        ...[1, 5, 102].map((classes) => ({ features: 512, hidden: [33], classes, grainRows: 13 })),
        { features: 1280, hidden: [128, 1], classes: 2, grainRows: 12 },
        { features: 7, hidden: [5, 129], classes: 10, grainRows: 2 },
        { features: 1, hidden: [], classes: 2, grainRows: 3 },
        { features: 40, hidden: [24], classes: 6, grainRows: 300 },
      ];
      test.each(shapes)(
        "$features -> $hidden -> $classes, grains of $grainRows rows: 1, 2, 4 and 8 grains a call have the same bits",
        async (shape) => {
          const trainable = head(shape.features, shape.hidden, shape.classes);
          const input = gradientInput(trainable, 8, shape.grainRows, 11);
          const expected = await sumInCallsOf(8, engine, trainable, input, shape.grainRows);
          expect(expected.gradient.some((value) => value !== 0)).toBe(true);
          for (const grains of [4, 2, 1]) {
            const found = await sumInCallsOf(grains, engine, trainable, input, shape.grainRows);
            expect(bits(found.gradient)).toBe(bits(expected.gradient));
            expect(Object.is(found.loss, expected.loss)).toBe(true);
            expect(found.correct).toBe(expected.correct);
          }
          const again = await sumInCallsOf(8, single, trainable, input, shape.grainRows);
          expect(bits(again.gradient)).toBe(bits(expected.gradient));
        },
      );

      test("what stands in rows of weight 0 changes nothing", async () => {
        const trainable = head(64, [16], 5);
        const input = gradientInput(trainable, 2, 6, 12);
        const other = { ...input, features: input.features.slice(), labels: input.labels.slice() };
        input.rowWeights.forEach((weight, row) => {
          if (weight !== 0) return;
          other.features.set(randoms(64, 100 + row), row * 64);
          other.labels[row] = -7;
        });
        const [a, b] = [await run(engine, trainable, input, 6, 2), await run(engine, trainable, other, 6, 2)];
        expect(bits(b.gradient)).toBe(bits(a.gradient));
        expect([b.loss, b.correct]).toEqual([a.loss, a.correct]);
      });

      test("the gradient goes where it is asked to go, from call to call, with the same bits", async () => {
        const trainable = head(64, [16], 5);
        const input = gradientInput(trainable, 2, 6, 13);
        const gradient = await engine.compileGradient(trainable, { grainRows: 6, grains: 2 });
        const expected = (await gradient.run(input)).gradient.slice();
        for (const target of [new Float32Array(expected.length), new Float32Array(expected.length + 3).subarray(3)]) {
          const sums = await gradient.run({ ...input, gradient: target });
          expect(sums.gradient).toBe(target);
          expect(bits(target)).toBe(bits(expected));
        }
        expect(bits((await gradient.run(input)).gradient)).toBe(bits(expected));
        await gradient.release();
      });

      const losses: LossSpec[] = [
        { kind: "softmax", labelSmoothing: 0 },
        { kind: "softmax", labelSmoothing: 0.1 },
        { kind: "sigmoid", labelSmoothing: 0 },
        { kind: "sigmoid", labelSmoothing: 0.2 },
      ];
      test.each(losses)("agrees with finite differences in float64: $kind, smoothing $labelSmoothing", async (loss) => {
        const classes = loss.kind === "sigmoid" ? 1 : 4;
        const network = chain(
          "deep",
          [2, 3, 2],
          [
            { kind: "flatten" },
            { kind: "dropout", rate: 0.25 },
            { kind: "dense", units: 9, bias: true },
            { kind: "relu6" },
            { kind: "dropout", rate: 0.5 },
            { kind: "dense", units: 8, bias: true },
            { kind: "sigmoid" },
            { kind: "dense", units: 7, bias: false },
            { kind: "relu" },
            { kind: "dense", units: classes, bias: true },
          ],
        );
        const trainable: Trainable = { network, loss, batchNorm: "FROZEN" };
        const random = gradientInput(trainable, 2, 5, 13);
        // Large enough that relu6 has values on both sides of 6.
        const input = { ...random, features: random.features.map((value) => value * 4) };
        const found = await run(engine, trainable, input, 5, 2);
        const expected = referenceTotals(trainable, input, input.parameters);
        expect(Math.abs(found.loss - expected.loss)).toBeLessThan(1e-5 * Math.abs(expected.loss));
        expect(found.correct).toBe(expected.correct);
        const step = 2 ** -14;
        for (let i = 0; i < input.parameters.length; i++) {
          const [up, down] = [input.parameters.slice(), input.parameters.slice()];
          up[i] = (up[i] as number) + step;
          down[i] = (down[i] as number) - step;
          const width = (up[i] as number) - (down[i] as number);
          const slope = (referenceTotals(trainable, input, up).loss - referenceTotals(trainable, input, down).loss) / width;
          expect(Math.abs((found.gradient[i] as number) - slope), `parameter ${i}: ${found.gradient[i]} against ${slope}`).toBeLessThan(
            1e-4,
          );
        }
      });

      test.each([
        ["conv2d", { kind: "conv2d", filters: 2, kernel: [1, 1], strides: [1, 1], padding: none, bias: true }],
        ["softmax", { kind: "softmax" }],
      ] as const)("a tail with %s is trained or refused by name", async (kind, layer) => {
        const network = chain("tail", [4, 4, 3], [layer, { kind: "flatten" }, { kind: "dense", units: 3, bias: true }]);
        const compiled = engine.compileGradient(
          { network, loss: { kind: "softmax", labelSmoothing: 0 }, batchNorm: "FROZEN" },
          { grainRows: 2, grains: 1 },
        );
        const outcome = await compiled.then(
          (gradient) => gradient.release(),
          (error: unknown) => error,
        );
        if (outcome !== undefined) expect(outcome).toMatchObject({ code: "ENGINE_UNSUPPORTED", details: { layer: `${kind}_0` } });
      });
    });

    describe("evaluation", () => {
      test.each([1, 2, 102])(
        "logits, loss and correct count of %i outputs agree with the reference; dropout does nothing",
        async (classes) => {
          const trainable = head(30, [16], classes);
          const rows = 9;
          const input = gradientInput(trainable, 1, rows, 14);
          input.rowWeights.forEach((weight, row) => (input.rowWeights[row] = weight === 0 ? 0 : 1));
          const evaluation = await engine.compileEvaluation(trainable, rows);
          const sums = await evaluation.run(input);
          const expected = referenceTotals(trainable, { ...input, dropoutMasks: [] }, input.parameters);
          expect(evaluation.rows).toBe(rows);
          expectClose(sums.logits, expected.logits, 1e-5);
          expect(Math.abs(sums.loss - expected.loss)).toBeLessThan(1e-5 * expected.loss);
          expect(sums.correct).toBe(expected.correct);

          const activations = await evaluation.activations(input);
          expect([...activations.keys()]).toEqual(["dense_1", "relu_2", "dense_3"]);
          expect(activations.get("dense_3")).toEqual({ shape: [rows, classes], data: sums.logits });
          expect(activations.get("relu_2")?.data).toEqual(activations.get("dense_1")?.data.map((value) => Math.max(value, 0)));
          await evaluation.release();
        },
      );
    });
  });
}

const none = { top: 0, bottom: 0, left: 0, right: 0 };

const layerCases: Record<string, readonly LayerKind[]> = {
  "conv2d 3x3, uneven padding, stride 2": [
    { kind: "conv2d", filters: 5, kernel: [3, 3], strides: [2, 2], padding: { top: 0, bottom: 1, left: 0, right: 1 }, bias: true },
  ],
  "conv2d 1x3 without bias": [
    { kind: "conv2d", filters: 16, kernel: [1, 3], strides: [1, 2], padding: { top: 0, bottom: 0, left: 1, right: 1 }, bias: false },
  ],
  "conv2d and batch norm": [
    { kind: "conv2d", filters: 32, kernel: [3, 3], strides: [1, 1], padding: { top: 1, bottom: 1, left: 1, right: 1 }, bias: false },
    { kind: "batchNorm", epsilon: 1e-3, scale: false, center: true },
    { kind: "relu6" },
  ],
  "batch norm that follows no convolution": [{ kind: "relu" }, { kind: "batchNorm", epsilon: 1e-5, scale: true, center: false }],
  depthwiseConv2d: [
    { kind: "depthwiseConv2d", kernel: [3, 3], strides: [2, 2], padding: { top: 1, bottom: 0, left: 0, right: 1 }, bias: true },
  ],
  maxPool: [{ kind: "maxPool", size: [3, 3], strides: [2, 2], padding: { top: 0, bottom: 1, left: 1, right: 1 } }],
  "averagePool leaves padding out": [
    { kind: "averagePool", size: [3, 3], strides: [1, 1], padding: { top: 1, bottom: 1, left: 1, right: 1 } },
  ],
  globalAveragePool: [{ kind: "globalAveragePool" }],
  zeroPad: [{ kind: "zeroPad", padding: { top: 1, bottom: 2, left: 0, right: 3 } }],
  "flatten is row-major over height, width, channels": [
    { kind: "maxPool", size: [1, 2], strides: [1, 2], padding: none },
    { kind: "flatten" },
  ],
  "softmax over channels": [{ kind: "softmax" }],
  sigmoid: [{ kind: "sigmoid" }],
};

/** A network in which each layer takes the one before it; layers are named KIND_NUMBER. */
export function chain(name: string, inputShape: readonly number[], kinds: readonly LayerKind[]): Network {
  const layers = kinds.map((kind, i): Layer => ({
    ...kind,
    name: `${kind.kind}_${i}`,
    inputs: [i === 0 ? INPUT : `${kinds[i - 1]?.kind}_${i - 1}`],
  }));
  return { name, inputShape, layers, output: layers.at(-1)?.name ?? INPUT };
}

function smallConvolutional(outputs: number): Network {
  const padding = { top: 0, bottom: 1, left: 0, right: 1 };
  return chain(
    "small",
    [24, 24, 3],
    [
      { kind: "conv2d", filters: 24, kernel: [3, 3], strides: [2, 2], padding, bias: false },
      { kind: "batchNorm", epsilon: 1e-3, scale: true, center: true },
      { kind: "relu6" },
      { kind: "depthwiseConv2d", kernel: [3, 3], strides: [2, 2], padding, bias: true },
      { kind: "conv2d", filters: 70, kernel: [1, 1], strides: [1, 1], padding: none, bias: true },
      { kind: "relu" },
      { kind: "conv2d", filters: 200, kernel: [3, 3], strides: [1, 1], padding, bias: true },
      { kind: "globalAveragePool" },
      { kind: "dense", units: outputs, bias: true },
    ],
  );
}

function head(features: number, hidden: readonly number[], classes: number): Trainable {
  const kinds = hidden.flatMap((units): LayerKind[] => [
    { kind: "dropout", rate: 0.5 },
    { kind: "dense", units, bias: true },
    { kind: "relu" },
  ]);
  const network = chain(`head of ${classes}`, [features], [...kinds, { kind: "dense", units: classes, bias: true }]);
  return { network, loss: { kind: classes === 1 ? "sigmoid" : "softmax", labelSmoothing: 0.1 }, batchNorm: "FROZEN" };
}

/** Uniform in [-1, 1), the same on every machine. */
function randoms(length: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function randomWeights(network: Network, seed: number): Weights {
  return new Map(
    weightSpecs(network).map(({ name, shape }, i) => {
      const data = randoms(elementCount(shape), seed * 1000 + i);
      const scale = 1 / Math.sqrt(Math.max(1, elementCount(shape.slice(0, -1))));
      return [
        name,
        {
          shape,
          data: data.map((value) =>
            name.endsWith("variance") ? Math.abs(value) + 0.5 : name.endsWith("gamma") ? value + 2 : value * 2 * scale,
          ),
        },
      ];
    }),
  );
}

/** A call on features that are no pixels. */
interface FloatInput extends GradientInput {
  readonly features: Float32Array;
}

/** Random features, labels, masks and class weights; the last row of every grain is padding. */
function gradientInput({ network, loss }: Trainable, grains: number, grainRows: number, seed: number): FloatInput {
  const rows = grains * grainRows;
  const layout = parameterLayout(network);
  const parameters = new Float32Array(layout.length);
  const statistics = new Float32Array(statisticsLayout(network).length);
  const random = randomWeights(network, seed);
  for (const tensors of [tensorsOf(layout, parameters), tensorsOf(statisticsLayout(network), statistics)]) {
    for (const [name, tensor] of tensors) tensor.data.set(random.get(name)?.data ?? []);
  }
  const shapes = layerShapes(network);
  const classes = loss.kind === "sigmoid" ? 2 : elementCount(shapes.get(network.output) ?? []);
  return {
    parameters,
    statistics,
    features: randoms(rows * elementCount(network.inputShape), seed + 1).map((value) => value * 3),
    labels: Int32Array.from(randoms(rows, seed + 2), (value) => Math.floor(((value + 1) / 2) * classes)),
    rowWeights: Float32Array.from({ length: rows }, (_, row) => (row % grainRows === grainRows - 1 ? 0 : 0.5 + (row % 3) * 0.5)),
    dropoutMasks: network.layers
      .filter((layer) => layer.kind === "dropout")
      .map((layer, i) =>
        randoms(rows * elementCount(shapes.get(layer.name) ?? []), seed + 3 + i).map((value) => (value > 0 ? 1 / (1 - layer.rate) : 0)),
      ),
  };
}

async function run(engine: Engine, trainable: Trainable, input: GradientInput, grainRows: number, grains: number): Promise<GradientSums> {
  const gradient = await engine.compileGradient(trainable, { grainRows, grains });
  const sums = await gradient.run(input);
  const kept = { ...sums, gradient: sums.gradient.slice() };
  await gradient.release();
  return kept;
}

/** Eight grains in calls of `grains`, the calls' sums added along the tree as trainers do. */
async function sumInCallsOf(
  grains: number,
  engine: Engine,
  trainable: Trainable,
  input: GradientInput,
  grainRows: number,
): Promise<GradientSums> {
  const gradient = await engine.compileGradient(trainable, { grainRows, grains });
  const part = <T extends Float32Array | Int32Array | Uint8Array>(whole: T, call: number): T =>
    whole.slice((call * grains * whole.length) / 8, ((call + 1) * grains * whole.length) / 8) as T;
  const gradients = [];
  const losses = [];
  let correct = 0;
  for (let call = 0; call < 8 / grains; call++) {
    const sums = await gradient.run({
      parameters: input.parameters,
      statistics: input.statistics,
      features: part(input.features, call),
      labels: part(input.labels, call),
      rowWeights: part(input.rowWeights, call),
      dropoutMasks: input.dropoutMasks.map((mask) => part(mask, call)),
    });
    gradients.push({ first: call * grains, grains, values: sums.gradient.slice() });
    losses.push({ first: call * grains, grains, values: Float32Array.of(sums.loss) });
    correct += sums.correct;
  }
  await gradient.release();
  return { gradient: addAlongTree(gradients), loss: addAlongTree(losses)[0] ?? NaN, correct, statistics: new Float32Array(0) };
}

function referenceTotals(
  { network, loss }: Trainable,
  input: FloatInput,
  parameters: Float32Array,
): { readonly loss: number; readonly correct: number; readonly logits: readonly number[] } {
  const weights = tensorsOf(parameterLayout(network), parameters);
  const width = elementCount(network.inputShape);
  const dropouts = network.layers.filter((layer) => layer.kind === "dropout");
  let total = 0;
  let correct = 0;
  const all: number[] = [];
  input.rowWeights.forEach((weight, row) => {
    const masks = new Map(
      input.dropoutMasks.map((mask, i): [string, Float32Array] => {
        const units = mask.length / input.rowWeights.length;
        return [dropouts[i]?.name ?? "", mask.subarray(row * units, (row + 1) * units)];
      }),
    );
    const logits = referenceForward(network, weights, input.features.subarray(row * width, (row + 1) * width), masks);
    all.push(...logits);
    if (weight === 0) return;
    const label = input.labels[row] as number;
    total += weight * referenceLoss(logits, label, loss);
    const scores = loss.kind === "sigmoid" ? [0, logits[0] as number] : [...logits];
    if (scores.indexOf(Math.max(...scores)) === label) correct++;
  });
  return { loss: total, correct, logits: all };
}

async function expectForward(engine: Engine, network: Network, weights: Weights): Promise<void> {
  const width = elementCount(network.inputShape);
  const input = randoms(3 * width, 77).map((value) => value * 8);
  const forward = await engine.compileForward(network, weights, { batch: 4 });
  const output = await forward.run(input, 3);
  const expected = [0, 1, 2].flatMap((row) => [...referenceForward(network, weights, input.subarray(row * width, (row + 1) * width))]);
  expectClose(output, expected, 1e-5);
  await forward.release();
}

function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(found.length).toBe(expected.length);
  const scale = Math.max(1, ...Array.from(expected, Math.abs));
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((found[i] as number) - (expected[i] as number));
    if (!(difference <= tolerance * scale)) expect.fail(`value ${i}: expected ${expected[i]}, found ${found[i]}`);
  }
}

function bits(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}
