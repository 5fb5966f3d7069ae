import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, test } from "vitest";
import { buildTopology } from "../../domain/network/catalog/catalog.js";
import { appendNetwork, headNetwork } from "../../domain/network/compose.js";
import type { Shape } from "../../domain/network/network.js";
import { layerShapes } from "../../domain/network/shapes.js";
import { parameterLayout, statisticsLayout, tensorsOf } from "../../domain/training/parameters.js";
import { type EngineName, enginesThatTrain } from "../../domain/training/trainable-layers.js";
import { openEngine, listEngines } from "../../platform/engine/engines.js";
import type { Engine, GradientSums, Trainable } from "../../platform/engine/engine.js";
import { madeUpFeatures, madeUpLabels, type MadeUpRecipe, madeUpStart, projection } from "./made-up-recipe.js";

/**
 * The gradient of every network of the catalogue, from pixels to the loss, against PyTorch in float64 (network_gradients.py): no engine may be off by more than twice what PyTorch's own
 * float32 is off by. Every engine that trains a network is asked; prints how far each is off.
 */
interface Golden {
  readonly topology: string;
  readonly width: number;
  readonly size: number;
  readonly batchNorm: "FROZEN" | "BATCH";
  readonly batch: number;
  readonly classes: number;
  readonly outputDeviation: number;
  readonly loss: number;
  /** Of PyTorch's float32; `all`: the largest over all elements of all tensors, of which the figures are a sample. */
  readonly float32: Errors & { readonly all: number };
  /** Tensors whose gradient cancels out. */
  readonly cancelled: readonly string[];
  readonly tensors: Readonly<Record<string, Figures>>;
  /** With FROZEN, the upper halves of all moving statistics, in base64. */
  readonly statistics: string;
}

/** Of one tensor's gradient; values stand at equal distances. */
type Figures = readonly [placeOfLargest: number, largest: number, projection: number, ...values: number[]];

interface Errors {
  /** The largest of all figures, each relative to its tensor's largest element. */
  readonly figures: number;
  /** The largest element of tensors whose gradient cancels out, relative to the largest of all. */
  readonly cancelled: number;
}

/** What PyTorch's float32 may be off by, times. */
const TIMES = 2;
/** What cancels out is a sum of rounding errors: how large depends on the order of adding up more than other figures do. */
const TIMES_CANCELLED = 20;
const LOSS_TOLERANCE = 1e-4;

const { networks } = JSON.parse(readFileSync(join(import.meta.dirname, "network_gradients.json"), "utf8")) as {
  readonly networks: readonly Golden[];
};
const statuses = await listEngines();
const engines = new Map<EngineName, Promise<Engine>>();
const table: string[] = [];

afterAll(() =>
  console.log(
    [
      "largest relative error of a gradient over the figures, beside that of PyTorch's float32 over them and over all elements",
      ...table,
    ].join("\n"),
  ),
);

describe.each(networks)("$topology $width at $size, batch norm $batchNorm", (golden) => {
  const recipe = recipeOf(golden);
  const trainable = trainableOf(golden, recipe);

  for (const name of enginesThatTrain({ tail: trainable.network, pixels: true })) {
    const missing = statuses.find((status) => status.name === name && !status.available)?.detail;
    test.skipIf(missing !== undefined)(missing === undefined ? name : `${name} (skipped: ${missing})`, async () => {
      if (!engines.has(name)) engines.set(name, openEngine(name));
      const { loss, gradient } = await gradientOf(await engines.get(name)!, trainable, golden, recipe);
      const errors = errorsOf(golden, tensorsOf(parameterLayout(trainable.network), gradient));
      table.push(
        `${golden.topology} ${golden.width} ${golden.batchNorm}, ${name}: ${exponential(errors.figures)} (PyTorch ${exponential(golden.float32.figures)}, ${exponential(golden.float32.all)})`,
      );
      assert.ok(Math.abs(loss - golden.loss) <= LOSS_TOLERANCE * golden.loss, `loss ${loss}, expected ${golden.loss}`);
      assert.ok(
        errors.figures <= TIMES * golden.float32.all,
        `${errors.where} is off by ${errors.figures}, PyTorch's float32 by ${golden.float32.all} at most`,
      );
      assert.ok(
        errors.cancelled <= TIMES_CANCELLED * golden.float32.cancelled,
        `what should cancel out is ${errors.cancelled} of the largest gradient, with PyTorch ${golden.float32.cancelled}`,
      );
    });
  }
});

function recipeOf({ batch, size, classes, outputDeviation }: Golden): MadeUpRecipe {
  return { batch, inputShape: [size, size, 3], features: "pixels", classes, outputDeviation };
}

function trainableOf({ topology, width, size, batchNorm }: Golden, { classes }: MadeUpRecipe): Trainable {
  const { network, preprocessing } = buildTopology(topology, { width, size });
  const head = headNetwork(layerShapes(network).get(network.output)!, [], classes);
  return { network: appendNetwork(network, head), loss: { kind: "softmax", labelSmoothing: 0 }, batchNorm, preprocessing };
}

async function gradientOf(engine: Engine, trainable: Trainable, golden: Golden, recipe: MadeUpRecipe): Promise<GradientSums> {
  const layout = parameterLayout(trainable.network);
  const parameters = new Float32Array(layout.length);
  for (const [name, { shape, data }] of tensorsOf(layout, parameters)) data.set(start(golden.topology, recipe, name, shape));
  const statistics = new Float32Array(statisticsLayout(trainable.network).length);
  const halves = Buffer.from(golden.statistics, "base64");
  if (golden.batchNorm === "FROZEN") assert.equal(halves.length, 2 * statistics.length);
  const upper = new DataView(statistics.buffer);
  for (let i = 0; i < halves.length / 2; i++) upper.setUint32(4 * i, halves.readUInt16LE(2 * i) << 16, true);

  const gradient = await engine.compileGradient(trainable, { grainRows: recipe.batch, grains: 1 });
  try {
    const sums = await gradient.run({
      parameters,
      statistics,
      features: madeUpFeatures(recipe, 0),
      labels: madeUpLabels(recipe, 0),
      rowWeights: new Float32Array(recipe.batch).fill(1),
      dropoutMasks: [],
    });
    return { ...sums, gradient: sums.gradient.slice() };
  } finally {
    await gradient.release();
  }
}

/** `start` of network_gradients.py, which says why. */
function start(topology: string, recipe: MadeUpRecipe, name: string, shape: Shape): Float32Array {
  const made = madeUpStart(recipe, name, shape);
  const times = (factor: number): Float32Array => made.map((value) => value * factor);
  if (topology === "squeezenet_1.1" || topology === "vgg16") return /^(block1_)?conv1\/kernel$/.test(name) ? times(1 / 128) : made;
  if (name.endsWith("/gamma")) return times(2);
  return name.endsWith("/beta") && topology === "inception_v3" ? times(4) : made;
}

function errorsOf({ tensors, cancelled }: Golden, found: ReturnType<typeof tensorsOf>): Errors & { readonly where: string } {
  assert.deepEqual([...found.keys()].sort(), [...Object.keys(tensors), ...cancelled].sort());
  let worst = { figures: 0, where: "" };
  for (const [name, [place, largest, projected, ...values]] of Object.entries(tensors)) {
    const { data } = found.get(name)!;
    const pairs: readonly (readonly [what: string, value: number, wanted: number])[] = [
      ["largest element", data[place]!, largest],
      ["projection", projection(name, data), projected],
      ...values.map((value, i) => [`value ${i}`, data[Math.floor((data.length * i) / values.length)]!, value] as const),
    ];
    for (const [what, value, wanted] of pairs) {
      const error = Math.abs(value - wanted) / Math.abs(largest);
      assert.ok(Number.isFinite(error), `${name}, ${what}: ${value}`);
      if (error > worst.figures) worst = { figures: error, where: `${name}, ${what} (${value}, expected ${wanted})` };
    }
  }
  const largest = Math.max(...Object.values(tensors).map(([, value]) => Math.abs(value)));
  const rest = cancelled.map((name) => found.get(name)!.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / largest);
  return { ...worst, cancelled: Math.max(0, ...rest) };
}

function exponential(value: number): string {
  return value.toExponential(1);
}
