import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { JobEvent } from "../../domain/job/events.js";
import type { PlanRecord } from "../../domain/job/records.js";
import { resolveJob } from "../../domain/job/resolve.js";
import { INPUT } from "../../domain/network/network.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { objectJobStore } from "../../platform/job-store/object-store.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import type { Joined, Member } from "../../platform/work-service/work-service.js";
import { JobCoordinator } from "./coordinator.js";
import type { JobStatus } from "../../domain/job/status.js";

const profile = { engine: "fake" } as unknown as NumericsProfile;
/** Gives others their turn, and otherwise sleeps for ever: nothing here may depend on time. */
const clock = {
  now: () => 0,
  monotonic: () => 0,
  sleep: (ms: number) => (ms === 0 ? Promise.resolve() : new Promise<void>(() => undefined)),
};

/** A job of forty pictures of two classes whose plan stands; the test is its workers. */
async function setup({ trainers = 2, onChange = (): void => undefined } = {}) {
  const store = memoryObjectStore();
  const jobs = objectJobStore(store);
  const job = new JobObjects(store, "job");
  const resolved = resolveJob({ dataset: { source: "/pictures" }, trainers: { min: trainers, max: trainers } });
  await jobs.create("job", { formatVersion: 1, requestId: "job", name: "test", out: "out", submittedMs: 0, job: resolved });
  const plan = {
    formatVersion: 1,
    backbone: { name: "tiny", digest: "d" },
    cut: "pool",
    featureSpec: { profile },
    featureSpecDigest: "f",
    featureShape: [3],
    trainingProfile: profile,
  };
  await job.createJson("plan.json", plan, (value) => value as typeof plan);
  const names = ["a", "b"].flatMap((label) => Array.from({ length: 20 }, (_, index) => `${label}/${String(index).padStart(2, "0")}.jpg`));
  const dataset: OpenedDataset = {
    source: {
      location: "/pictures",
      async *list() {
        for (const path of names) yield { path, bytes: 1, state: "s" };
      },
      read: () => Promise.reject(new Error("the coordinator reads no picture")),
    },
    manifest: undefined,
  };
  const network = {
    name: "tiny",
    inputShape: [2, 2, 3],
    layers: [{ kind: "globalAveragePool", name: "pool", inputs: [INPUT] }],
    output: "pool",
  };
  const backbone = {
    name: "tiny",
    network,
    preprocessing: { size: 2, resize: "STRETCH", resizeTo: 2 },
    weights: new Map(),
    origin: "",
    licence: "",
  };
  const events: JobEvent[] = [];
  const coordinator = new JobCoordinator("job", {
    store,
    jobs,
    backbones: { find: async () => ({ digest: "d", backbone }) } as unknown as BackboneStore,
    openDataset: async () => dataset,
    openFeatures: async () => ({ append: async () => undefined, problems: [] }) as unknown as JobFeatures,
    profiles: () => Promise.reject(new Error("the plan stands")),
    readWeights: () => Promise.reject(new Error("the plan stands")),
    clock,
    workersOutlive: false,
    memoryBytes: 2 ** 30,
    newKey: () => new Uint8Array(32),
    announce: (_jobId, event) => events.push(event),
    milestone: () => undefined,
    onChange,
  });

  /** Does the next task. */
  async function extract(): Promise<number> {
    const claim = await coordinator.claimTask("extractor", profile);
    if (claim.kind !== "task") throw new Error("there is no task");
    const ids = (await job.readListing(claim.task)).map(({ uri }) => sha256Hex(Buffer.from(uri)));
    const imageIds = Buffer.from(imageIdBytes(ids)).toString("base64");
    await coordinator.commitTask(claim, {
      formatVersion: 1,
      task: claim.task,
      worker: "extractor",
      imageIds,
      rejected: [],
      extracted: ids.length,
      cached: 0,
      shards: [],
    });
    return ids.length;
  }
  const join = (...names: string[]): Promise<Joined[]> =>
    Promise.all(names.map((name) => coordinator.joinTraining(name, profile, undefined, undefined)));
  const status = async (): Promise<JobStatus> => (await jobs.readStatus("job", (value) => value as JobStatus))!;
  return { coordinator, job, plan: plan as unknown as PlanRecord, events, extract, join, status };
}

const member = (trainer: string, generation: number): Member => ({ jobId: "job", trainer, generation });

const idsOf = (...paths: string[]): string[] => paths.map((path) => sha256Hex(Buffer.from(path)));

test("several trainers report what is missing, some of them late: it is extracted once, and all meet in the next generation", async () => {
  const { coordinator, job, events, extract, join, status } = await setup();
  const stop = new AbortController();
  const run = coordinator.run(stop.signal);
  expect(await extract()).toBe(40);
  expect(await join("t0", "t1")).toMatchObject([{ generation: 0 }, { generation: 0 }]);

  // The first reports and waits for the next generation; the second reports only when that is already being prepared.
  await coordinator.reportMissingFeatures(member("t0", 0), idsOf("a/03.jpg", "b/07.jpg"));
  const first = join("t0");
  expect(await extract()).toBe(2);
  await new Promise((resolve) => setImmediate(resolve)); // everything here is in memory: now the next generation waits for its second member
  expect(await status()).toMatchObject({ phase: "Training" });
  await coordinator.reportMissingFeatures(member("t1", 0), idsOf("a/03.jpg", "b/07.jpg"));
  const answers = (await Promise.all([first, join("t1")])).flat();
  expect(answers).toMatchObject([{ generation: 1, trainers: ["t0", "t1"] }, { generation: 1 }]);
  expect(await job.numberedFacts("repairs")).toEqual([0]);
  expect(events).toContainEqual({
    kind: "warning",
    message: "2 pictures are extracted again: their features were damaged and are quarantined",
  });
  expect(await status()).toMatchObject({ phase: "Training", picturesLost: 2, tasks: 2, tasksCommitted: 2, trainers: 2, failure: null });

  stop.abort(new CodedError("INTERRUPTED", "interrupted"));
  await expect(run).rejects.toMatchObject({ code: "INTERRUPTED" });
});

test("features that stay damaged end the job with what to do, not in a circle", async () => {
  const { coordinator, extract, join, status } = await setup({ trainers: 1 });
  const run = coordinator.run(new AbortController().signal);
  run.catch(() => undefined);
  await extract();
  for (let generation = 0; ; generation++) {
    const [joined] = await join("t0");
    if (joined?.kind === "done") break;
    await coordinator.reportMissingFeatures(member("t0", generation), idsOf("a/03.jpg"));
    if (generation < 5) await extract();
  }
  await expect(run).rejects.toMatchObject({
    code: "OBJECT_CORRUPT",
    message: expect.stringMatching(/1 pictures are damaged, and extracting them again did not help; check the store's disk/) as string,
  });
  // It can be mended, so the job stays where it was.
  expect(await status()).toMatchObject({ phase: "Training", failure: { code: "OBJECT_CORRUPT" } });
});

test("when the job stops, everyone who waits is dismissed", async () => {
  const { coordinator, extract, join, status } = await setup();
  const stop = new AbortController();
  const run = coordinator.run(stop.signal);
  await extract();
  const waiting = [coordinator.claimTask("extractor", profile), join("t0").then(([answer]) => answer)];
  stop.abort(new CodedError("TRAINING_DIVERGED", "the loss is NaN"));
  await expect(run).rejects.toThrow("the loss is NaN");
  expect(await Promise.all(waiting)).toEqual([{ kind: "done" }, { kind: "done" }]);
  expect(await status()).toMatchObject({ phase: "Failed", failure: { code: "TRAINING_DIVERGED", message: "the loss is NaN" } });
});

test("workers that wait for a task are woken as soon as there are some", async () => {
  let wake = (): void => undefined;
  const { coordinator } = await setup({ onChange: () => wake() });
  const claimed = new Promise((resolve) => (wake = () => resolve(coordinator.tryClaim("extractor", profile))));
  const stop = new AbortController();
  coordinator.run(stop.signal).catch(() => undefined);
  expect(await claimed).toMatchObject({ kind: "task" });
  stop.abort(new CodedError("INTERRUPTED", "the test ends"));
});
