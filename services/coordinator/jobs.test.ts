import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { limits } from "../../domain/limits.js";
import { INPUT } from "../../domain/network/network.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { objectJobStore } from "../../platform/job-store/object-store.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import type { LeasedTask } from "../../platform/work-service/work-service.js";
import { ManualClock } from "../../test/support/virtual-clock.js";
import { JobRequests } from "./job-requests.js";
import { Jobs } from "./jobs.js";
import { WorkRouter } from "./work-router.js";

const profile = { engine: "onnx" } as unknown as NumericsProfile;
const idOf = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;

/** A coordinator over a store in memory, on forty pictures of two classes and a tiny network; the test is its workers and its clients. */
async function setup(store = memoryObjectStore()) {
  const clock = new ManualClock();
  const names = ["a", "b"].flatMap((label) => Array.from({ length: 20 }, (_, index) => `${label}/${String(index).padStart(2, "0")}.jpg`));
  const network = {
    name: "tiny",
    inputShape: [2, 2, 3],
    layers: [{ kind: "globalAveragePool", name: "pool", inputs: [INPUT] }],
    output: "pool",
  };
  const preprocessing = { size: 2, resize: "STRETCH", resizeTo: 2, crop: "CENTER", channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] };
  const backbone = { name: "tiny", network, preprocessing, weights: new Map(), origin: "", licence: "" };
  const failures: unknown[] = [];
  const appended: unknown[] = [];
  const stop = new AbortController();
  const jobs = new Jobs(
    {
      store,
      jobs: objectJobStore(store),
      backbones: { find: async () => ({ digest: "d", backbone }) } as unknown as BackboneStore,
      openDataset: async () => ({
        source: {
          location: "/pictures",
          async *list() {
            for (const path of names) yield { path, bytes: 1, state: "s" };
          },
          read: () => Promise.reject(new Error("the coordinator reads no picture")),
        },
        manifest: undefined,
      }),
      openFeatures: async () =>
        ({
          append: async (shards: readonly unknown[]) => void appended.push(...shards),
          refresh: async () => undefined,
          has: () => false,
          problems: [],
        }) as unknown as JobFeatures,
      readWeights: () => Promise.reject(new Error("not asked for")),
      clock,
      memoryBytes: 2 ** 34,
      runner: "coordinator",
      newKey: () => new Uint8Array(32),
      milestone: () => undefined,
      enginesOf: async () => ({ extraction: "onnx", training: "onnx" }),
      announce: () => undefined,
      onFailure: (_jobId, error) => failures.push(error),
    },
    stop.signal,
  );
  await jobs.load();
  const requests = new JobRequests({ jobs, plan: async () => ({ text: "", json: "{}" }), urlOf: async () => undefined });
  const work = new WorkRouter(jobs);
  const submit = async (number: number, name = `job-${String(number)}`): Promise<string> =>
    (await requests.submitJob(idOf(number), { metadata: { name }, spec: { dataset: { source: "/pictures" } } })).metadata.uid ?? "";
  /** Commits a task as an extractor would. */
  const commit = async (task: LeasedTask): Promise<unknown> => {
    const ids = (await new JobObjects(store, task.jobId).readListing(task.task)).map(({ uri }) => sha256Hex(Buffer.from(uri)));
    return work.commitTask(task, {
      formatVersion: 1,
      task: task.task,
      worker: task.worker,
      imageIds: Buffer.from(imageIdBytes(ids)).toString("base64"),
      rejected: [],
      extracted: ids.length,
      cached: 0,
      shards: [],
    });
  };
  const phaseOf = async (job: string): Promise<string> => (await requests.getJob({ name: job })).status.phase;
  return { store, jobs, requests, work, submit, commit, phaseOf, pass: (ms: number) => clock.pass(ms), failures, appended, stop };
}

/** Lets everything go on that needs no time. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test("a job waits for its first workers, whose profiles it is pinned to, and says so", async () => {
  const { requests, work, submit, phaseOf } = await setup();
  const job = await submit(1);
  await settled();
  expect(await phaseOf(job)).toBe("PLANNING");
  expect((await requests.explainJob({ name: job })).map(({ subject }) => subject)).toEqual(["job", "extraction", "training"]);
  void work.claimTask("extractor", profile);
  void work.joinTraining("trainer", profile, undefined, undefined);
  await settled();
  expect(await phaseOf(job)).toBe("EXTRACTING");
});

test("the pool's extractors take tasks of all jobs in turn; a trainer goes to the job that needs one", async () => {
  const { work, submit, commit, phaseOf } = await setup();
  const joined = work.joinTraining("trainer", profile, undefined, undefined);
  const first = work.claimTask("extractor", profile);
  const jobs = [await submit(1), await submit(2)];
  const claims = [await first];
  await settled();
  claims.push(await work.claimTask("extractor", profile));
  expect(claims.map((claim) => (claim.kind === "task" ? claim.jobId : claim.kind)).sort()).toEqual([...jobs].sort());
  const [second] = claims.filter((claim) => claim.kind === "task" && claim.jobId === jobs[1]);
  if (second?.kind === "task") await commit(second);
  await settled();
  expect(await phaseOf(jobs[1]!)).toBe("TRAINING");
  expect(await joined).toMatchObject({ kind: "generation", jobId: jobs[1], trainers: ["trainer"] });
});

test("a worker of a pool that fits no job waits; one that was started for a job is told why it cannot have it", async () => {
  const { work, submit, pass } = await setup();
  void work.joinTraining("trainer", profile, undefined, undefined);
  const fitting = work.claimTask("extractor", profile);
  const job = await submit(1);
  const task = await fitting;
  if (task.kind === "task") await work.releaseTask(task, []);
  const foreign = { engine: "onnx", engineVersion: "other" } as unknown as NumericsProfile;
  await expect(work.claimTask("foreign", foreign, job)).rejects.toMatchObject({ code: "NUMERICS_PROFILE_MISMATCH" });
  const waiting = work.claimTask("foreign", foreign);
  await settled();
  pass(20_000);
  expect(await waiting).toEqual({ kind: "ask again" });
});

test("with numericsProfile: ANY extractors of every profile with the engine take tasks; trainers are of one profile all the same", async () => {
  const { requests, work, commit } = await setup();
  void work.joinTraining("trainer", profile, undefined, undefined);
  const first = work.claimTask("extractor", profile);
  const spec = { dataset: { source: "/pictures" }, numericsProfile: "ANY" as const };
  const { metadata } = await requests.submitJob(idOf(1), { metadata: { name: "any" }, spec });
  const task = await first;
  if (task.kind !== "task") throw new Error("no task");
  await work.releaseTask(task, []);
  const foreign = { engine: "onnx", engineVersion: "other" } as unknown as NumericsProfile;
  const claimed = await work.claimTask("foreign", foreign, metadata.uid);
  expect(claimed).toMatchObject({ kind: "task", jobId: metadata.uid });
  const stranger = { engine: "tensorflow" } as unknown as NumericsProfile;
  await expect(work.claimTask("stranger", stranger, metadata.uid)).rejects.toMatchObject({ code: "NUMERICS_PROFILE_MISMATCH" });
  if (claimed.kind === "task") await commit(claimed);
  await settled();
  await expect(work.joinTraining("foreign", foreign, metadata.uid, undefined)).rejects.toMatchObject({ code: "NUMERICS_PROFILE_MISMATCH" });
});

test("suspended, a job's workers stop; resumed, it goes on where it was; a coordinator that is started anew obeys too", async () => {
  const { store, requests, work, submit, commit, phaseOf, stop, jobs } = await setup();
  void work.joinTraining("trainer", profile, undefined, undefined);
  const claiming = work.claimTask("extractor", profile);
  const job = await submit(1);
  const task = await claiming;
  if (task.kind !== "task") throw new Error("no task");
  await requests.suspendJob({ name: job });
  expect(await work.heartbeatTask(task, { extracted: 1, cached: 0, rejected: 0 })).toBe("lost");
  await expect(commit(task)).rejects.toMatchObject({ code: "LEASE_LOST" });
  expect((await requests.getJob({ name: job })).status).toMatchObject({ phase: "EXTRACTING", suspended: true });
  stop.abort(new Error("over"));
  await jobs.stopped();

  const next = await setup(store);
  expect((await next.requests.getJob({ name: job })).status).toMatchObject({ suspended: true });
  await next.requests.resumeJob({ name: job });
  const again = await next.work.claimTask("extractor", profile);
  if (again.kind !== "task") throw new Error("no task");
  void next.work.joinTraining("trainer", profile, undefined, undefined);
  await next.commit(again);
  await settled();
  expect(await next.phaseOf(job)).toBe("TRAINING");
  expect((await requests.getJob({ name: job })).status.phase).toBe("EXTRACTING");
  expect(await phaseOf(job)).toBe("EXTRACTING");
});

test("a job that is submitted suspended begins only when it is resumed, whichever coordinator is there", async () => {
  const { store, requests, work, stop, jobs } = await setup();
  void work.claimTask("extractor", profile);
  void work.joinTraining("trainer", profile, undefined, undefined);
  const request = { metadata: { name: "later" }, spec: { dataset: { source: "/pictures" }, suspend: true } };
  const submitted = await requests.submitJob(idOf(1), request);
  const job = submitted.metadata.uid ?? "";
  const conditions: unknown = expect.arrayContaining([expect.objectContaining({ type: "Suspended", status: "True" })]);
  const stands = { phase: "PENDING", suspended: true, conditions };
  expect(submitted.status).toMatchObject(stands);
  expect((await requests.submitJob(idOf(1), request)).status).toMatchObject(stands);
  await settled();
  expect((await requests.getJob({ name: job })).status).toMatchObject(stands);
  expect((await requests.explainJob({ name: job }))[0]?.message).toMatch(/^suspended in Pending/);
  const objects = new JobObjects(store, job);
  expect(await objects.readJson("listing/summary.json", (value) => value)).toBeUndefined();
  stop.abort(new Error("over"));
  await jobs.stopped();

  const next = await setup(store);
  await settled();
  expect((await next.requests.getJob({ name: job })).status).toMatchObject(stands);
  await next.requests.resumeJob({ name: job });
  const claimed = next.work.claimTask("extractor", profile, job);
  void next.work.joinTraining("trainer", profile, undefined, undefined);
  expect(await claimed).toMatchObject({ kind: "task", jobId: job });
  expect((await next.requests.getJob({ name: job })).status).toMatchObject({ phase: "EXTRACTING", suspended: false });
  next.stop.abort(new Error("over"));
  await next.jobs.stopped();

  // The request to resume is a fact too: a third one does not stop at what was submitted.
  const third = await setup(store);
  expect(third.jobs.get(job)?.pause).toBeUndefined();
});

test("a cancelled job ends at once and for good", async () => {
  const { requests, work, submit } = await setup();
  const job = await submit(1);
  await requests.cancelJob({ name: job });
  expect((await requests.getJob({ name: job })).status).toMatchObject({
    phase: "CANCELLED",
    conditions: [
      { type: "Failed", reason: "Cancelled" },
      { type: "Progressing", status: "False" },
      { type: "Suspended", status: "False" },
    ],
  });
  await expect(requests.resumeJob({ name: job })).rejects.toMatchObject({ code: "JOB_TRANSITION_ILLEGAL" });
  await expect(requests.cancelJob({ name: job })).resolves.toBeDefined();
  expect(await work.claimTask("extractor", profile, job)).toEqual({ kind: "done" });
});

test("a watcher sees the state first, then each change, and the end", async () => {
  const { requests, submit, pass } = await setup();
  const job = await submit(1);
  await settled();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { status } of requests.watchJob({ name: job }, undefined, new AbortController().signal)) seen.push(status.phase);
  })();
  await settled();
  expect(seen).toEqual(["PLANNING"]);
  await requests.cancelJob({ name: job });
  pass(1_000);
  await watching;
  expect(seen).toEqual(["PLANNING", "CANCELLED"]);
  const { resourceVersion } = (await requests.getJob({ name: job })).metadata;
  const late: unknown[] = [];
  for await (const state of requests.watchJob({ name: job }, resourceVersion, new AbortController().signal)) late.push(state);
  expect(late).toEqual([]);
});

test("jobs are listed newest first in pages; a page's token that nobody gave is refused", async () => {
  const { requests, submit, pass } = await setup();
  for (const number of [1, 2, 3]) {
    await submit(number);
    pass(1_000);
  }
  const first = await requests.listJobs({ pageSize: 2 });
  expect(first.jobs.map(({ metadata }) => metadata.name)).toEqual(["job-3", "job-2"]);
  const second = await requests.listJobs({ pageSize: 2, pageToken: first.nextPageToken });
  expect(second.jobs.map(({ metadata }) => metadata.name)).toEqual(["job-1"]);
  expect(second.nextPageToken).toBe("");
  await expect(requests.listJobs({ pageToken: "!" })).rejects.toMatchObject({ code: "REQUEST_INVALID" });
  await expect(requests.listJobs({ pageSize: 0 })).rejects.toMatchObject({ code: "REQUEST_INVALID" });
});

test("shards that go ahead of a commit count, and are of no use to a job that takes none now", async () => {
  const { work, requests, submit, appended } = await setup();
  const claim = work.claimTask("extractor", profile);
  void work.joinTraining("trainer", profile, undefined, undefined);
  const job = await submit(1);
  const task = await claim;
  const shard = { sha256: "ab".repeat(32), bytes: 1, view: 0, rows: 1, imageIds: "", thumbnails: null };
  if (task.kind === "task") await work.appendShards(task, [shard]);
  expect(appended).toEqual([shard]);
  await requests.suspendJob({ name: job });
  if (task.kind === "task") await work.appendShards(task, [shard]);
  expect(appended).toEqual([shard]);
});

test("one request id is one job; a name is free again when its job has ended", async () => {
  const { requests, submit } = await setup();
  const job = await submit(1, "flowers");
  expect(await submit(1, "flowers")).toBe(job);
  await expect(submit(2, "flowers")).rejects.toMatchObject({ code: "JOB_EXISTS" });
  await requests.cancelJob({ name: "flowers" });
  expect(await submit(3, "flowers")).not.toBe(job);
  await expect(requests.submitJob(idOf(4), { metadata: { name: "No Name" }, spec: {} })).rejects.toMatchObject({ code: "SPEC_INVALID" });
  await expect(requests.submitJob(idOf(5), { metadata: {}, spec: { dataset: { source: "relative" } } })).rejects.toThrow(
    /an absolute folder/,
  );
  await expect(requests.getResult({ name: "flowers" })).rejects.toMatchObject({ code: "JOB_NOT_COMPLETE" });
  await expect(requests.getJob({ name: "roses" })).rejects.toMatchObject({ code: "JOB_NOT_FOUND" });
});

test("what happened is in the log, in order, across coordinators", async () => {
  const { store, requests, submit, stop, jobs } = await setup();
  const job = await submit(1);
  await settled();
  await requests.suspendJob({ name: job });
  stop.abort(new Error("over"));
  await jobs.stopped();
  const next = await setup(store);
  await next.requests.resumeJob({ name: job });
  await settled();
  const { events, nextPageToken } = await next.requests.listJobEvents({ name: job }, {});
  expect(events.map(({ kind, message }) => (kind === "request" ? message : message.split(":")[0]))).toEqual([
    "Scanning",
    "Planning",
    "suspended by request",
    "resumed by request",
    "Scanning",
    "Planning",
  ]);
  expect((await next.requests.listJobEvents({ name: job }, { pageToken: nextPageToken })).events).toEqual([]);
});

test("a failure of a worker that no repetition cures fails the job, with its reason; others are counted", async () => {
  const { requests, work, submit, phaseOf } = await setup();
  void work.joinTraining("trainer", profile, undefined, undefined);
  const claiming = work.claimTask("extractor", profile);
  const job = await submit(1);
  await claiming;
  await work.reportFailure({ worker: "extractor", jobId: job, code: "STORE_UNAVAILABLE", message: "the store is away", lease: undefined });
  await work.reportFailure({ worker: "late", jobId: job, code: "GENERATION_STALE", message: "too late", lease: undefined });
  expect(await phaseOf(job)).toBe("EXTRACTING");
  await work.reportFailure({ worker: "extractor", jobId: job, code: "TRAINERS_DIVERGED", message: "weights differ", lease: undefined });
  await settled();
  expect((await requests.getJob({ name: job })).status).toMatchObject({
    phase: "FAILED",
    failure: { code: "TRAINERS_DIVERGED", message: "weights differ" },
  });
});

test("a coordinator that stops keeps no worker waiting, so that its process ends at once", async () => {
  const { work, stop, jobs } = await setup();
  const waiting = Promise.all([work.claimTask("e", profile), work.joinTraining("t", profile, undefined, undefined)]);
  await Promise.resolve();
  stop.abort(new Error("stopped"));
  expect(await waiting).toEqual([{ kind: "ask again" }, { kind: "ask again" }]);
  await jobs.stopped();
});

test("too many failures that a repetition might cure fail the job too", async () => {
  const { requests, work, submit } = await setup();
  void work.joinTraining("trainer", profile, undefined, undefined);
  const claiming = work.claimTask("extractor", profile);
  const job = await submit(1);
  await claiming;
  for (let failure = 0; failure <= limits.workerFailuresMax; failure++)
    await work.reportFailure({ worker: "extractor", jobId: job, code: "DATASET_UNREADABLE", message: "a disk is away", lease: undefined });
  await settled();
  expect((await requests.getJob({ name: job })).status).toMatchObject({ phase: "FAILED", failure: { code: "DATASET_UNREADABLE" } });
});

test("a coordinator that waits for its first workers goes on with the plan that another one, woken again, has made with them (simulation, seed 271)", async () => {
  const { store, submit, phaseOf, pass } = await setup();
  const job = await submit(1);
  await settled();
  expect(await phaseOf(job)).toBe("PLANNING");
  const plan = {
    formatVersion: 1,
    backbone: { name: "tiny", digest: "d" },
    cut: "pool",
    featureSpec: { profile },
    featureSpecDigest: "f",
    featureShape: [3],
    viewSpec: null,
    views: 1,
    trainingProfile: profile,
    initialWeights: null,
  };
  await new JobObjects(store, job).createJson("plan.json", plan, (value) => value as typeof plan);
  pass(5_000);
  await settled();
  expect(await phaseOf(job)).toBe("EXTRACTING");
});

test("a job that has ended stays as it ended where the next coordinator records it again, as a controller does", async () => {
  const { jobs, submit, stop } = await setup();
  const jobId = await submit(1);
  await settled();
  const job = jobs.get(jobId)!;
  await jobs.fail(job, new CodedError("DEADLINE_EXCEEDED", "too late"));
  await settled();
  const { outcome, job: again } = await new Jobs(jobs.deps, stop.signal).add(jobId, job.record);
  expect([outcome, again.board.state.phase, again.coordinator]).toEqual(["exists", "Failed", undefined]);
});
