import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { JobRecord, SamplesRecord } from "../../domain/job/records.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { randomKey, RandomStream } from "../../domain/random.js";
import { planTraining } from "../../domain/training/training-plan.js";
import { jobRecord, planRecord, samplesRecord } from "../../formats/job-records/job-records.js";
import { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { systemClock } from "../../platform/clock/system.js";
import { openEngine } from "../../platform/engine/engines.js";
import { memoryGradientBus } from "../../platform/gradient-bus/memory.js";
import { JobFeatures } from "../../platform/job-features/job-features.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { LaneStore } from "../../platform/lane-store/lane-store.js";
import { filesystemObjectStore } from "../../platform/object-store/filesystem.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { Generation, WorkService } from "../../platform/work-service/work-service.js";
import { pinPlan } from "../../services/coordinator/plan-job.js";
import { runTrainer } from "../../services/trainer/trainer.js";
import { loadTrainingSet } from "../../services/trainer/training-set.js";

/**
 * A program that trains on made-up features in its process: `node streamed-run.js REQUEST`, with the request as JSON. No picture is decoded and no coordinator runs: `rows` writes the features and
 * the facts that a job has when its training begins; `trainers` trains on them and prints what it took.
 */
export interface StreamedRunRequest {
  readonly store: string;
  readonly jobId: string;
  readonly spec: JobSpec;
  /** Rows of each split to make up. */
  readonly make?: { readonly train: number; readonly validation: number; readonly test: number };
  /** How many train. */
  readonly trainers?: number;
}

export interface StreamedRun {
  readonly weightsSha256: string;
  readonly testAccuracy: number;
  /** Bytes of the features of the training rows. */
  readonly trainBytes: number;
  readonly epochs: number;
  /** Bytes read of shards, and of lanes up to the end of the last step and behind it. */
  readonly shardBytes: number;
  readonly trainingBytes: number;
  readonly exportBytes: number;
  /** Resident memory before anything was read, and its peak. */
  readonly baseMemory: number;
  readonly peakMemory: number;
  /** Its peak up to the first step, so while lanes were made. */
  readonly peakBeforeTraining: number;
  readonly secondsBeforeTraining: number;
  readonly seconds: number;
}

const request = JSON.parse(process.argv[2] ?? "") as StreamedRunRequest;
const read = { shards: 0, lanes: 0 };
const store = counting(filesystemObjectStore(request.store));
const backbones = new BackboneStore(store);
const engine = await openEngine("onnx", { threads: 2 });
const job = new JobObjects(store, request.jobId);
if (request.make !== undefined) await makeJob(request.make);
if (request.trainers !== undefined) process.stdout.write(`${JSON.stringify(await trainJob(request.trainers))}\n`);

function counting(inner: ObjectStore): ObjectStore {
  const count = (key: string, body: Uint8Array | undefined): void => {
    if (key.includes("/shards/")) read.shards += body?.length ?? 0;
    if (key.endsWith(".rows")) read.lanes += body?.length ?? 0;
  };
  return {
    location: inner.location,
    create: (key, body) => inner.create(key, body),
    put: (key, body) => inner.put(key, body),
    read: async (key) => {
      const body = await inner.read(key);
      count(key, body);
      return body;
    },
    readRange: async (key, from, to) => {
      const body = await inner.readRange(key, from, to);
      count(key, body);
      return body;
    },
    stat: (key) => inner.stat(key),
    list: (prefix) => inner.list(prefix),
    delete: (key) => inner.delete(key),
  };
}

async function makeJob(rows: NonNullable<StreamedRunRequest["make"]>): Promise<void> {
  const resolved = resolveJob(request.spec, "test");
  const backbone = await findOrAddBackbone(backbones, resolved.backbone.name, undefined);
  const profiles = { extraction: { ...engine.forwardProfile, decoder: "none" }, training: engine.gradientProfile };
  const plan = pinPlan(resolved, backbone, profiles);
  const record: JobRecord = { formatVersion: 1, requestId: request.jobId, name: "test", out: "out", submittedMs: 0, job: resolved };
  await job.createJson("spec.json", record, jobRecord);
  await job.createJson("plan.json", plan, planRecord);

  // 1. The sample table, sorted by image id; label and split follow from the id.
  const total = rows.train + rows.validation + rows.test;
  const made = Array.from({ length: total }, (_, number) => {
    const split = number < rows.train ? 0 : number < rows.train + rows.validation ? 1 : 2;
    return {
      id: createHash("sha256").update(String(number)).digest(),
      split,
    };
  });
  const sorted = [...made].sort((a, b) => Buffer.compare(a.id, b.id));
  const labelOf = (id: Buffer): number => id[31]! % 2;
  await job.writeSamples(0, {
    imageIds: Buffer.concat(sorted.map(({ id }) => id)),
    labels: Int32Array.from(sorted, ({ id }) => labelOf(id)),
    splits: Uint8Array.from(sorted, ({ split }) => split),
    uris: sorted.map((_, row) => String(row)),
  });
  const countOf = (split: number): number[] =>
    [0, 1].map((label) => made.filter((row) => row.split === split && labelOf(row.id) === label).length);
  const samples: SamplesRecord = {
    formatVersion: 1,
    digest: "0".repeat(64),
    rows: total,
    parts: 1,
    classes: ["a", "b"],
    counts: { train: countOf(0), validation: countOf(1), test: countOf(2) },
    rejectedCount: 0,
    rejected: [],
    duplicateCount: 0,
    conflictCount: 0,
    conflicts: [],
    splitConflictCount: 0,
    extraction: { extracted: total, cached: 0, imagesPerSecond: null, seconds: 0, workers: {} },
  };
  await job.createJson("samples/summary.json", samples, samplesRecord);

  // 2. Shards in another order than that of the ids: noise, and a little of the class in the first values.
  const features = await JobFeatures.open(store, plan.featureSpec, plan.viewSpec);
  const length = plan.featureShape.reduce((product, side) => product * side, 1);
  const shardRows = Math.min(4096, Math.floor((32 * 1024 * 1024) / (4 * length)));
  const random = new RandomStream(randomKey(1, "made-up features"));
  const noise = Float32Array.from({ length: 65_536 + length }, () => random.uniform() - 0.5);
  for (let from = 0; from < total; from += shardRows) {
    const shard = made.slice(from, from + shardRows);
    const values = new Float32Array(shard.length * length);
    shard.forEach(({ id }, row) => {
      const first = id.readUInt16LE();
      values.set(noise.subarray(first, first + length), row * length);
      for (let at = 0; at < 8; at++) values[row * length + at]! += labelOf(id) === 1 ? 0.2 : -0.2;
    });
    await features.append([await features.writeShard({ view: 0, imageIds: Buffer.concat(shard.map(({ id }) => id)), features: values })]);
  }
}

async function trainJob(trainers: number): Promise<StreamedRun> {
  const record = (await job.readJson("spec.json", jobRecord))!;
  const samples = (await job.readJson("samples/summary.json", samplesRecord))!;
  const backbone = await backbones.find(record.job.backbone.name, undefined);
  const plan = planTraining(record.job, cutBackbone(record.job, backbone.backbone), samples);
  const trainBytes = plan.trainRows * plan.features.rowBytes;
  const names = Array.from({ length: trainers }, (_, index) => `trainer-${String(index)}`);
  const generation: Generation = {
    jobId: request.jobId,
    generation: 0,
    trainers: names,
    startStep: 0,
    stateWriter: undefined,
    key: new Uint8Array(32),
  };
  const joined = new Set<string>();
  let isCommitted = false;
  const marks = { firstStepMs: 0, lanesAtExport: 0, peakBeforeTraining: 0 };
  const notAsked = (): never => {
    throw new Error("no extractor runs here");
  };
  const work: WorkService = {
    claimTask: notAsked,
    heartbeatTask: notAsked,
    lookupFeatures: notAsked,
    commitTask: notAsked,
    appendShards: notAsked,
    releaseTask: notAsked,
    reportMissingFeatures: notAsked,
    reportStall: notAsked,
    reportFailure: notAsked,
    joinTraining: async (trainer) => {
      if (joined.has(trainer)) return { kind: "done" };
      joined.add(trainer);
      return { kind: "generation", ...generation };
    },
    reportStep: async (_, { step }) => {
      if (marks.firstStepMs === 0 && step > 0) {
        marks.firstStepMs = performance.now();
        marks.peakBeforeTraining = memoryOf("VmHWM");
      }
      return isCommitted ? 1 : 0;
    },
    reportEvaluation: async () => undefined,
    commitCheckpoint: async () => undefined,
    reportPhase: async (_, phase) => {
      if (phase === "Evaluating") marks.lanesAtExport = read.lanes;
    },
    commitResult: async () => {
      isCommitted = true;
    },
  };
  const bus = memoryGradientBus((error) => {
    throw error;
  });
  const baseMemory = memoryOf("VmRSS");
  const startMs = performance.now();
  let set: ReturnType<typeof loadTrainingSet> | undefined;
  const features = await JobFeatures.open(store, (await job.readJson("plan.json", planRecord))!.featureSpec, null);
  const lanes = new LaneStore(store, features);
  await Promise.all(
    names.map((trainer) =>
      runTrainer(
        trainer,
        undefined,
        {
          work,
          store,
          backbones,
          bus,
          engine: async () => engine,
          clock: systemClock,
          openFeatures: async () => features,
          openLanes: () => lanes,
          loadTrainingSet: (...inputs) => (set ??= loadTrainingSet(...inputs)),
          milestone: () => undefined,
        },
        new AbortController().signal,
      ),
    ),
  );
  const metrics = JSON.parse(Buffer.from((await job.readResult("metrics.json"))!).toString("utf8")) as {
    readonly weightsSha256: string;
    readonly test: { readonly accuracy: number };
  };
  return {
    weightsSha256: metrics.weightsSha256,
    testAccuracy: metrics.test.accuracy,
    trainBytes,
    epochs: (plan.steps * plan.batchSize) / plan.trainRows,
    shardBytes: read.shards,
    trainingBytes: marks.lanesAtExport,
    exportBytes: read.lanes - marks.lanesAtExport,
    baseMemory,
    peakMemory: memoryOf("VmHWM"),
    peakBeforeTraining: marks.peakBeforeTraining,
    secondsBeforeTraining: (marks.firstStepMs - startMs) / 1000,
    seconds: (performance.now() - startMs) / 1000,
  };
}

/** Linux counts it for each process: VmRSS is resident now, VmHWM its peak. */
function memoryOf(field: "VmRSS" | "VmHWM"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? NaN);
}
