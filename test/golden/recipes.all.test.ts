import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "vitest";
import { cutBackbone, type CutBackbone } from "../../domain/job/cut-backbone.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { OptimizerSpec } from "../../domain/job/spec.js";
import { limits } from "../../domain/limits.js";
import { buildTopology, parseTopologyName } from "../../domain/network/catalog/catalog.js";
import { type FeatureArray, grainRowsMax } from "../../domain/training/grains.js";
import { type ParameterLayout, tensorsOf } from "../../domain/training/parameters.js";
import { engineNames, trainingObstacle } from "../../domain/training/trainable-layers.js";
import { planTraining, type TrainingPlan } from "../../domain/training/training-plan.js";
import { parseJobFile } from "../../formats/job-file/job-file.js";
import { listEngines, openEngine } from "../../platform/engine/engines.js";
import type { Engine } from "../../platform/engine/engine.js";
import type { Evaluator } from "../../services/trainer/evaluator.js";
import { OwnGrains } from "../../services/trainer/own-grains.js";
import { train } from "../../services/trainer/train-loop.js";
import { TrainingState } from "../../services/trainer/training-state.js";
import { madeUpFeatures, madeUpLabels, type MadeUpRecipe, madeUpStart, projection } from "./made-up-recipe.js";

/**
 * The first three steps of every recipe in examples/, by the trainer's own loop, against Keras and PyTorch from the same weights and batches (recipes_keras.py, recipes_torch.py): losses,
 * gradients, and how parameters and moving statistics have changed at the end. Cut, head, loss, batch norm, weight decay and multipliers are those of the job file; optimiser, learning
 * rate and batch are the published ones, as the Python scripts have them.
 */
interface Recipe extends MadeUpRecipe {
  readonly recipe: string;
  /** Where a network is trained: at which size. */
  readonly topology: { readonly size: number } | null;
  readonly optimizer: { readonly kind: "sgd" | "rmsprop" } & Readonly<Record<string, unknown>>;
  readonly learningRate: number;
  readonly cases: readonly Case[];
}

interface Case {
  readonly grains: number;
  /** Of each step: the loss, and how far the framework's float32 is from it, relative to it. */
  readonly losses: readonly (readonly [loss: number, deviation: number])[];
  /** Of the gradient in each step, and of the change over all steps. */
  readonly trained: Readonly<Record<string, readonly Figures[]>>;
  /** Of the change over all steps. */
  readonly statistics: Readonly<Record<string, Figures>>;
}

/**
 * Of one tensor, by the framework in float64; `deviation` is the root mean square of what its float32 differs by. All but the first are relative to the first; values stand at equal
 * distances.
 */
type Figures = readonly [rms: number, projection: number, deviation: number, ...values: number[]];

/** Figures must be as close as this, relative to the tensor's root mean square … */
const TOLERANCE = 1e-3;
/** … or, where the framework's own float32 is far off, to so many times what it is off by: an engine adds up in another order and is off by as much, in another direction … */
const DEVIATIONS = 5;
/** … for a single element to more: float32 is up to five times as far off in the worst channels of a tensor (measured with Keras) as on average … */
const DEVIATIONS_OF_ELEMENT = 10;
/** … or, where all gradient cancels out (an offset below another batch norm, say), nearly nothing beside the largest tensor of the network. */
const NOTHING = 3e-6;

const recipes = ["keras", "torch"].flatMap((framework) => {
  const text = readFileSync(join(import.meta.dirname, `recipes_${framework}.json`), "utf8");
  return (JSON.parse(text) as { readonly recipes: readonly Recipe[] }).recipes.map((recipe) => ({ framework, ...recipe }));
});
const statuses = await listEngines();
const engines = new Map<string, Promise<Engine>>();

describe.each(recipes)("$recipe by $framework", (recipe) => {
  for (const expected of recipe.cases) {
    const plan = planOf(recipe, expected.grains);
    for (const engine of engineNames.filter((name) => trainingObstacle(name, plan.cut) === undefined)) {
      const missing = statuses.find(({ name, available }) => name === engine && !available)?.detail;
      const title = `${engine}, ${expected.grains} grain${expected.grains === 1 ? "" : "s"}`;
      test.skipIf(missing !== undefined)(missing === undefined ? title : `${title} (skipped: ${missing})`, async () => {
        if (!engines.has(engine)) engines.set(engine, openEngine(engine));
        compare(await threeSteps(recipe, plan.training, await engines.get(engine)!), expected);
      });
    }
  }
});

/** The example's training with the batch, optimiser and picture size of the scripts. */
function planOf(recipe: Recipe, grains: number): { readonly cut: CutBackbone; readonly training: TrainingPlan } {
  const file = join(import.meta.dirname, "..", "..", "examples", `${recipe.recipe}.yaml`);
  const { spec } = parseJobFile(readFileSync(file, "utf8"), file);
  const { kind, ...values } = recipe.optimizer;
  const optimizer: OptimizerSpec = { [kind]: { ...values, learningRate: recipe.learningRate } };
  const job = resolveJob({
    ...spec,
    ...(recipe.topology !== null && { preprocessing: { size: recipe.topology.size } }),
    training: { ...spec.training, batchSize: recipe.batch, grains, optimizer, schedule: { constant: {} }, batchNormMomentum: 0.99 },
  });
  const { topology, options } = parseTopologyName(job.backbone.name)!;
  const cut = cutBackbone(job, buildTopology(topology, options));
  assert.deepEqual(cut.featureShape, recipe.inputShape);
  const classes = Array.from({ length: recipe.classes }, (_, number) => `class ${number}`);
  const counts = { train: classes.map(() => recipe.batch), validation: classes.map(() => 0), test: classes.map(() => 0) };
  const planned = planTraining(job, cut, { classes, counts });
  assert.equal(planned.grains, planned.layout.length > limits.parametersForGrains ? 1 : grains);
  // Of a network with more parameters than graft divides into grains, what eight grains give is known all the same. No evaluation comes before the fourth step.
  const training = { ...planned, grains, grainRows: grainRowsMax(recipe.batch, grains), steps: 4, evaluateEverySteps: 4 };
  return { cut, training };
}

interface Trained {
  readonly losses: readonly number[];
  readonly gradients: readonly ReadonlyMap<string, Float32Array>[];
  readonly changes: ReadonlyMap<string, Float32Array>;
  readonly statistics: ReadonlyMap<string, Float32Array>;
}

async function threeSteps(recipe: Recipe, plan: TrainingPlan, engine: Engine): Promise<Trained> {
  const steps = [0, 1, 2];
  const state = new TrainingState(plan);
  const start = {
    parameters: fill(recipe, plan.layout, state.parameters),
    statistics: fill(recipe, plan.statisticsLayout, state.statistics),
  };
  const rows = {
    views: [joined(steps.map((step) => madeUpFeatures(recipe, step)))],
    featureLength: plan.featureLength,
    labels: Int32Array.from(steps.flatMap((step) => [...madeUpLabels(recipe, step)])),
    classWeights: plan.classWeights,
  };
  const order = { batch: (step: number) => Uint32Array.from({ length: recipe.batch }, (_, place) => step * recipe.batch + place) };
  const grains = await OwnGrains.open(plan, [{ first: 0, grains: plan.grains }], order, rows, engine, state.optimizer.sums);
  const losses: number[] = [];
  const gradients: ReadonlyMap<string, Float32Array>[] = [];
  const enough = new AbortController();
  const hooks = {
    onStep: async () => {
      losses.push(state.since.loss / recipe.batch - losses.reduce((sum, loss) => sum + loss, 0));
      gradients.push(
        parts(
          plan.layout,
          state.optimizer.gradient.map((sum) => sum / recipe.batch),
        ),
      );
      if (state.step === steps.length) enough.abort();
    },
    onEvaluation: async () => undefined,
    saveCheckpoint: async () => undefined,
    milestone: () => undefined,
  };
  // Interrupted before the first evaluation.
  const evaluator = undefined as unknown as Evaluator;
  assert.equal(await train({ plan, state, grains, evaluator, exchange: undefined }, hooks, enough.signal), "interrupted");
  await grains.release();
  return {
    losses,
    gradients,
    changes: parts(
      plan.layout,
      state.parameters.map((value, i) => value - start.parameters[i]!),
    ),
    statistics: parts(
      plan.statisticsLayout,
      state.statistics.map((value, i) => value - start.statistics[i]!),
    ),
  };
}

function joined(parts: readonly FeatureArray[]): FeatureArray {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = parts[0] instanceof Uint8Array ? new Uint8Array(length) : new Float32Array(length);
  parts.forEach((part, i) => whole.set(part, i * part.length));
  return whole;
}

/** Fills the vector with the recipe's start; returns a copy. */
function fill(recipe: Recipe, layout: ParameterLayout, vector: Float32Array): Float32Array {
  for (const [name, { shape, data }] of tensorsOf(layout, vector)) data.set(madeUpStart(recipe, name, shape));
  return vector.slice();
}

function parts(layout: ParameterLayout, vector: Float32Array): Map<string, Float32Array> {
  return new Map([...tensorsOf(layout, vector)].map(([name, { data }]) => [name, data]));
}

function compare(found: Trained, expected: Case): void {
  for (const [step, [loss, deviation]] of expected.losses.entries()) {
    const difference = Math.abs(found.losses[step]! - loss) / loss;
    assert.ok(difference <= Math.max(TOLERANCE, DEVIATIONS * deviation), `loss of step ${step}: ${found.losses[step]}, expected ${loss}`);
  }
  const trained = Object.entries(expected.trained);
  for (const [i, tensors] of [...found.gradients, found.changes].entries()) {
    const what = i < found.gradients.length ? `gradient of step ${i}` : "change";
    compareTensors(what, tensors, new Map(trained.map(([name, figures]) => [name, figures[i]!])));
  }
  compareTensors("change", found.statistics, new Map(Object.entries(expected.statistics)));
}

function compareTensors(what: string, found: ReadonlyMap<string, Float32Array>, expected: ReadonlyMap<string, Figures>): void {
  assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort());
  const largest = Math.max(...[...expected.values()].map(([rms]) => rms));
  for (const [name, [rms, projected, deviation, ...values]] of expected) {
    const tensor = found.get(name)!;
    const close = (figure: string, value: number, wanted: number, deviations = DEVIATIONS): void => {
      const tolerance = Math.max(Math.max(TOLERANCE, deviations * deviation) * rms, NOTHING * largest);
      assert.ok(
        Math.abs(value - wanted) <= tolerance,
        `${what}, ${name}: ${figure} ${value}, expected ${wanted} to ${tolerance} (root mean square ${rms}, the framework's float32 is off by ${deviation} of it)`,
      );
    };
    close("root mean square", Math.sqrt(tensor.reduce((sum, value) => sum + value * value, 0) / tensor.length), rms);
    close("projection", projection(name, tensor), projected * rms);
    for (const [i, value] of values.entries()) {
      const place = Math.floor((tensor.length * i) / values.length);
      close(`value ${place}`, tensor[place]!, value * rms, DEVIATIONS_OF_ELEMENT);
    }
  }
}
