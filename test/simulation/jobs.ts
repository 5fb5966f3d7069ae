import type { Workers } from "../../domain/job/job.js";
import type { JobRecord } from "../../domain/job/records.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import type { Backbone } from "../../domain/network/backbone.js";
import { INPUT } from "../../domain/network/network.js";
import { SIZE } from "./pictures.js";

/** A network that hardly is one: the feature is the normalised picture. */
export const simulatedBackbone: Backbone = {
  name: "simulated",
  network: {
    name: "simulated",
    inputShape: [SIZE, SIZE, 3],
    layers: [{ kind: "flatten", name: "flat", inputs: [INPUT] }],
    output: "flat",
  },
  preprocessing: {
    size: SIZE,
    resize: "STRETCH",
    resizeTo: SIZE,
    channels: "RGB",
    mean: [127.5, 127.5, 127.5],
    deviation: [127.5, 127.5, 127.5],
  },
  weights: new Map(),
  origin: "made up",
  licence: "none",
};

const common: JobSpec = { dataset: { source: "/pictures", maxRejectedPercent: 20 }, backbone: { name: "simulated" } };

/** Recipes whose states differ in kind: slots of optimisers, masks, orders of samples, views, early stopping. All are long enough for a checkpoint before the last step. */
const recipes: readonly JobSpec[] = [
  { training: { steps: 110, batchSize: 16, grains: 8, optimizer: { sgd: { learningRate: 0.05, momentum: 0.9 } }, evaluateEverySteps: 20 } },
  {
    head: { layers: [{ dropout: { rate: 0.25 } }] },
    training: {
      steps: 130,
      batchSize: 12,
      grains: 4,
      optimizer: { adam: { learningRate: 0.01 } },
      labelSmoothing: 0.1,
      sampling: "CLASS_BALANCED",
      evaluateEverySteps: 10,
      earlyStopping: { patienceEvaluations: 6 },
    },
  },
  {
    views: { count: 2, horizontalFlip: true },
    training: { steps: 60, batchSize: 24, grains: 8, optimizer: { rmsprop: { learningRate: 0.005 } }, classWeights: { balanced: {} } },
  },
];

/** No recipe has fewer; a grain cannot be divided, so a job cannot begin with more trainers. */
const GRAINS_LEAST = 4;

export const recipeCount = recipes.length;

export function simulatedJob(recipe: number, { min, max }: Workers): Pick<JobRecord, "job" | "request"> {
  const spec: JobSpec = { ...common, ...recipes[recipe]!, trainers: { min: Math.min(min, GRAINS_LEAST), max } };
  return { job: resolveJob(spec), request: { metadata: { name: "simulation" }, spec } };
}
