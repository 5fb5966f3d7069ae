import { cutBackbone, type CutBackbone } from "../domain/job/cut-backbone.js";
import { resolveJob } from "../domain/job/resolve.js";
import type { JobSpec } from "../domain/job/spec.js";
import { buildTopology, parseTopologyName } from "../domain/network/catalog/catalog.js";
import { planTraining, type TrainingPlan } from "../domain/training/training-plan.js";
import { featureCut } from "../test/support/feature-cut.js";

/** What is trained: the names of bench/peers/training_time.py, which measures the same in Keras and PyTorch. */
export const networkNames = ["last-block", "mobilenet-frozen", "mobilenet-batch", "mixed7-head", "head-32", "head-96", "resnet18"] as const;
export type NetworkName = (typeof networkNames)[number];

export function isNetworkName(name: string | undefined): name is NetworkName {
  return networkNames.some((known) => known === name);
}

const momentum = { sgd: { learningRate: 0.001, momentum: 0.9 } };
const rmsprop = { rmsprop: { learningRate: 0.0001, decay: 0.9, momentum: 0, epsilon: 1e-7 } };
const mobilenet = { backbone: { name: "mobilenet_v2_1.0_224" } };
const FLOWERS = 102;

interface NetworkJob {
  readonly spec: Omit<JobSpec, "dataset">;
  readonly classes: number;
  /** Pooled features instead of a backbone's cut. */
  readonly featureLength?: number;
}

const jobs: Readonly<Record<NetworkName, NetworkJob>> = {
  "last-block": {
    spec: { ...mobilenet, cut: "block_15_add", training: { batchSize: 32, batchNorm: "FROZEN", optimizer: momentum } },
    classes: FLOWERS,
  },
  "mobilenet-frozen": {
    spec: { ...mobilenet, cut: "input", training: { batchSize: 32, batchNorm: "FROZEN", optimizer: momentum } },
    classes: FLOWERS,
  },
  "mobilenet-batch": {
    spec: { ...mobilenet, cut: "input", training: { batchSize: 32, batchNorm: "BATCH", optimizer: momentum } },
    classes: FLOWERS,
  },
  "mixed7-head": {
    spec: {
      backbone: { name: "inception_v3_150", lastLayer: "mixed7" },
      head: { layers: [{ dense: { units: 1024, activation: "RELU" } }] },
      training: { batchSize: 20, optimizer: rmsprop, loss: "SIGMOID_CROSS_ENTROPY" },
    },
    classes: 2,
  },
  "head-32": { spec: { training: { batchSize: 32, optimizer: momentum } }, classes: FLOWERS, featureLength: 1280 },
  "head-96": { spec: { training: { batchSize: 96, optimizer: momentum } }, classes: FLOWERS, featureLength: 1280 },
  resnet18: {
    spec: { backbone: { name: "resnet18_v1_224" }, cut: "input", training: { batchSize: 32, batchNorm: "BATCH", optimizer: momentum } },
    classes: FLOWERS,
  },
};

/** A job that trains the network; `grains` undefined: as many as a job has by itself. */
export function planNetwork(
  name: NetworkName,
  { grains, steps }: { readonly grains: number | undefined; readonly steps: number },
): { readonly cut: CutBackbone; readonly plan: TrainingPlan } {
  const { spec, classes, featureLength } = jobs[name];
  const training = { ...spec.training, ...(grains !== undefined && { grains }), weightDecay: 0, steps, evaluateEverySteps: steps };
  const job = resolveJob({ ...spec, training, dataset: { source: "bench" } });
  const cut = featureLength === undefined ? cutOf(job) : featureCut([featureLength]);
  const names = Array.from({ length: classes }, (_, number) => `class ${number}`);
  const none = names.map(() => 0);
  // As many pictures as a batch has, so that a step costs nothing but itself.
  const train = names.map(
    (_, number) => Math.floor(((number + 1) * job.training.batchSize) / classes) - Math.floor((number * job.training.batchSize) / classes),
  );
  return { cut, plan: planTraining(job, cut, { classes: names, counts: { train, validation: none, test: none } }) };
}

function cutOf(job: ReturnType<typeof resolveJob>): CutBackbone {
  const known = parseTopologyName(job.backbone.name);
  if (known === undefined) throw new Error(`no topology is named ${job.backbone.name}`);
  return cutBackbone(job, buildTopology(known.topology, known.options));
}
