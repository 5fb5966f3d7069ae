import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Milestone } from "../../domain/job/records.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { listEngines } from "../../platform/engine/engines.js";
import { finished, JobProcess, jobOn, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";

const PICTURES = 65;
/** Long enough for a checkpoint, after step 50, that is not the last. */
const STEPS = 56;

const training = { steps: STEPS, batchSize: 16, evaluateEverySteps: 14, optimizer: { sgd: { learningRate: 0.01, momentum: 0.9 } } };
const backbone = { name: "mobilenet_v2_0.35_224" };

/** Every transfer mode, trained by the engine `onnx`. */
const modes: readonly { readonly name: string; readonly job: JobSpec }[] = [
  {
    name: "a frozen backbone, three views",
    job: {
      ...smallJob,
      views: {
        count: 3,
        randomResizedCrop: { minScale: 0.3 },
        horizontalFlip: true,
        color: { brightness: 0.3, contrast: 0.3, saturation: 0.3 },
      },
      training,
    },
  },
  {
    name: "a flattened map, one hidden layer, one logit",
    job: {
      backbone: { ...backbone, lastLayer: "block_13_project_BN" },
      preprocessing: { size: 96 },
      head: { layers: [{ dense: { units: 32, activation: "RELU" } }] },
      training: { ...training, loss: "SIGMOID_CROSS_ENTROPY", optimizer: { rmsprop: { learningRate: 0.0003 } } },
    },
  },
  {
    name: "the last block, stored statistics, a faster head, no decay of biases",
    job: {
      backbone,
      preprocessing: { size: 96 },
      cut: "block_15_add",
      training: { ...training, learningRateMultipliers: [{ layers: "head/*", factor: 10 }], weightDecayExempt: ["*/bias", "*/beta"] },
    },
  },
  {
    name: "the last block, batch statistics, dropout, early stopping",
    job: {
      backbone,
      preprocessing: { size: 96 },
      cut: "block_15_add",
      head: { layers: [{ dropout: { rate: 0.2 } }] },
      training: { ...training, batchNorm: "BATCH", batchNormMomentum: 0.9, earlyStopping: { patienceEvaluations: 10 } },
    },
  },
  {
    name: "everything from the pixels on, batch statistics, two views",
    job: {
      backbone,
      preprocessing: { size: 32 },
      cut: "input",
      views: { count: 2, horizontalFlip: true, rotation: { maxDegrees: 20 } },
      training: { ...training, grains: 4, batchNorm: "BATCH" },
    },
  },
  {
    name: "everything from random weights",
    job: {
      backbone,
      preprocessing: { size: 32 },
      cut: "input",
      initialWeights: { random: {} },
      training: { ...training, grains: 4, batchNorm: "BATCH", optimizer: { adam: { learningRate: 0.001 } } },
    },
  },
];

const hasTensorflow = (await listEngines()).some(({ name, available }) => name === "tensorflow" && available);
const byTensorflow = modes
  .filter(({ name }) => /^the last block, stored/.test(name))
  .map(({ name, job }) => ({ name: `${name}, by tensorflow`, job: { ...job, trainers: { engine: "tensorflow" } } }));

describe.each([...modes, ...byTensorflow])("$name", ({ job }) => {
  const skipped = job.trainers?.engine === "tensorflow" && !hasTensorflow;
  const folder = temporaryFolder();
  afterAll(folder.remove);
  const pictures = join(folder.path, "pictures");
  const sigmoid = job.training?.loss === "SIGMOID_CROSS_ENTROPY";
  const grains = job.training?.grains ?? 8;
  let stores = 0;
  const newStore = (): string => join(folder.path, `store-${String(stores++)}`);
  let digest: string;

  beforeAll(async () => {
    if (skipped) return;
    const classes = sigmoid ? 2 : 5;
    samplePictures(pictures, Math.ceil(PICTURES / classes), classes);
    const { result } = await finished({ store: newStore(), spec: jobOn(pictures, job) });
    digest = result.metrics.weightsSha256;
    expect(Object.keys(result.grainsComputed)).toEqual(["trainer-0"]);
  });

  test.skipIf(skipped)("two trainers and two extractors give the weights of one", async () => {
    const { result } = await finished({ store: newStore(), spec: jobOn(pictures, job, { trainers: 2, extractors: 2 }) });
    expect(result.metrics.weightsSha256).toBe(digest);
    expect(result.grainsComputed).toEqual({ "trainer-0": (STEPS * grains) / 2, "trainer-1": (STEPS * grains) / 2 });
  });

  test.skipIf(skipped || job.trainers?.engine === "tensorflow").each([1, 2])("%i threads give them too", async (threads) => {
    const { result } = await finished({ store: newStore(), spec: jobOn(pictures, job), threads });
    expect(result.metrics.weightsSha256).toBe(digest);
  });

  test.skipIf(skipped)("four trainers give them too", async () => {
    const { result } = await finished({ store: newStore(), spec: jobOn(pictures, job, { trainers: 4 }) });
    expect(result.metrics.weightsSha256).toBe(digest);
    expect(Object.values(result.grainsComputed)).toEqual(new Array(4).fill((STEPS * grains) / 4));
  });

  test.skipIf(skipped).each<[Milestone, number]>([
    ["mid batch", 7],
    ["between updates", 53],
  ])("killed by SIGKILL %s and run again", async (milestone, occurrence) => {
    const store = newStore();
    const spec = jobOn(pictures, job);
    const killed = await new JobProcess({ store, spec, kill: { milestone, occurrence } }).end;
    expect(killed, killed.stderr).toMatchObject({ signal: "SIGKILL", result: undefined });
    const { result } = await finished({ store, spec });
    expect(result.metrics.weightsSha256).toBe(digest);
    if (milestone === "between updates") expect(result.grainsComputed["trainer-0"]).toBe((STEPS - 50) * grains);
  });
});
