import { expect, test } from "vitest";
import { CodedError } from "../../../domain/errors.js";
import { specInvalid } from "../../../domain/job/problems.js";
import { resolveJob } from "../../../domain/job/resolve.js";
import { memoryObjectStore } from "../../../platform/object-store/memory.js";
import { jobsInMemory, profile, settled } from "../../../test/support/jobs-in-memory.js";
import { MemoryCluster } from "../../../test/support/memory-cluster.js";
import { ManualClock } from "../../../test/support/virtual-clock.js";
import { JobRequests } from "../job-requests.js";
import { JobController } from "./job-controller.js";

const running = { kind: "running", ready: true } as const;
const ended = (end: "done" | "interrupted" | "failed" | "outOfMemory", message = "exit code 7") =>
  ({ kind: "ended", end, message }) as const;
const unschedulable = { kind: "waiting", code: "WORKERS_UNSCHEDULABLE", message: "no node takes it: 0/3 nodes" } as const;
const imageless = { kind: "waiting", code: "IMAGE_PULL_FAILED", message: "image x: ErrImagePull" } as const;

/** A controller over a cluster and a store, both in memory. */
async function setup(cluster = new MemoryCluster(), store = memoryObjectStore(), clock = new ManualClock()) {
  let controller: JobController | undefined = undefined as JobController | undefined;
  const inMemory = jobsInMemory(store, clock, {
    runner: "kubernetes",
    onChange: (job) => controller?.onJobChange(job),
    onExpired: (job) => controller?.expire(job) ?? Promise.resolve(),
  });
  const { jobs, stop } = inMemory;
  const resolve: ConstructorParameters<typeof JobController>[0]["resolve"] = ({ metadata: { name }, spec }) => {
    if (spec.cacheDomain === "closed") throw specInvalid(name, [{ path: "cacheDomain", message: "is closed" }]);
    return resolveJob(spec, `job ${name}`, "kubernetes");
  };
  const failures: unknown[] = [];
  controller = new JobController({
    jobs,
    resources: cluster.resources,
    cluster: cluster.cluster,
    clock,
    resolve,
    waits: { unschedulableMs: 3_600_000, imagePullMs: 600_000, startMs: 600_000 },
    progressMs: 5_000,
    onFailure: (_, error) => failures.push(error),
  });
  const { ended: controlling } = await controller.start(stop.signal);
  const made = controller;
  const requests = new JobRequests({
    jobs,
    records: {
      resolve,
      submit: (job) => made.submit(job),
      find: (name) => made.find(name),
      suspend: (job, suspend) => made.suspend(job, suspend),
    },
    plan: async () => ({ text: "", json: "{}" }),
    urlOf: async () => undefined,
  });
  /** Lets time go by in steps, so that all that it wakes has its turn. */
  const pass = async (ms: number): Promise<void> => {
    const steps = Math.min(40, Math.max(1, Math.ceil(ms / 1_000)));
    for (let step = 0; step < steps; step++) {
      clock.pass(ms / steps);
      await settled();
    }
  };
  const stopAll = async (): Promise<void> => {
    stop.abort(new CodedError("INTERRUPTED", "over"));
    await jobs.stopped();
    await controlling;
  };
  const status = (name: string) => cluster.job(name).status;
  const condition = (name: string, type: string) => status(name)?.conditions?.find((each) => each.type === type);
  /** Applies a job and has its first workers run, so that it waits for nothing but them. */
  const planned = async (name: string, spec = {}): Promise<void> => {
    cluster.apply(name, spec);
    await pass(1_000);
    cluster.pod(name, "extractor", `${name}-e1`, running);
    cluster.pod(name, "trainer", `${name}-t1`, running);
    await pass(1_000);
  };
  return { ...inMemory, cluster, controller, requests, failures, pass, stopAll, status, condition, planned };
}

test("a GraftJob is taken up, has workers as its phases need them, and says so in its status", async () => {
  const { cluster, work, commit, pass, status, condition, failures } = await setup();
  cluster.apply("flowers");
  await pass(1_000);
  expect(cluster.job("flowers").metadata.finalizers).toEqual(["graft.dev/job"]);
  expect(status("flowers")).toMatchObject({ phase: "PLANNING", observedGeneration: 1 });
  expect(cluster.counts("flowers")).toEqual({ extractor: 1, trainer: 1 });
  const joining = work.joinTraining("flowers-t1", profile, "uid-flowers", undefined);
  const task = await work.claimTask("flowers-e1", profile, "uid-flowers");
  await pass(1_000);
  expect(condition("flowers", "Progressing")).toMatchObject({ status: "True", reason: "Extracting", observedGeneration: 1 });
  if (task.kind === "task") await commit(task);
  await joining;
  await pass(1_000);
  expect(status("flowers")?.phase).toBe("TRAINING");
  expect(cluster.counts("flowers")).toEqual({ extractor: 0, trainer: 1 });
  expect(cluster.notices.map(({ reason }) => reason)).toEqual(["Extracting", "Training"]);
  expect(failures).toEqual([]);
});

test("suspended in the spec no pod stays; resumed by gRPC, as kubectl would, it goes on", async () => {
  const { cluster, requests, pass, condition, planned, store } = await setup();
  await planned("flowers");
  cluster.patch("flowers", { suspend: true });
  await pass(1_000);
  expect(cluster.counts("flowers")).toEqual({ extractor: 0, trainer: 0 });
  expect(condition("flowers", "Suspended")).toMatchObject({ status: "True", reason: "Suspended", observedGeneration: 2 });
  await requests.resumeJob({ name: "uid-flowers" });
  await pass(1_000);
  expect(cluster.job("flowers").spec.suspend).toBe(false);
  expect(condition("flowers", "Suspended")).toMatchObject({ status: "False", reason: "NotSuspended" });
  expect(cluster.counts("flowers")).toEqual({ extractor: 1, trainer: 1 });
  const keys: string[] = [];
  for await (const key of store.list("jobs/uid-flowers/requests/")) keys.push(key);
  expect(keys).toHaveLength(2);
});

test("one that has ended is not suspended, neither in the spec", async () => {
  const { cluster, requests, pass, planned } = await setup();
  await planned("flowers");
  await requests.cancelJob({ name: "uid-flowers" });
  await pass(1_000);
  await expect(requests.suspendJob({ name: "uid-flowers" })).rejects.toMatchObject({ code: "JOB_TRANSITION_ILLEGAL" });
  expect(cluster.job("flowers").spec.suspend).toBeUndefined();
  expect(cluster.counts("flowers")).toEqual({ extractor: 0, trainer: 0 });
});

test("a status that somebody erased comes back, and one that another writer was before is written on what stands then", async () => {
  const { cluster, pass, status, planned } = await setup();
  await planned("flowers");
  const before = status("flowers");
  cluster.eraseStatus("flowers");
  await pass(1_000);
  expect(status("flowers")?.conditions?.map(({ type, status: value }) => [type, value])).toEqual(
    before?.conditions?.map(({ type, status: value }) => [type, value]),
  );
  cluster.beforeStatus = () => cluster.patch("flowers", { backoffLimit: 9 });
  cluster.eraseStatus("flowers");
  await pass(1_000);
  expect(status("flowers")).toMatchObject({ phase: "PLANNING", observedGeneration: 2 });
  expect(cluster.job("flowers").spec.backoffLimit).toBe(9);
});

test("progress is written now and then, a change of state at once, and nothing where nothing changed", async () => {
  const { cluster, jobs, pass, planned } = await setup();
  await planned("flowers");
  await pass(10_000);
  const writes = (): number => cluster.changes.filter((change) => change.startsWith("status")).length;
  const before = writes();
  await pass(20_000);
  expect(writes()).toBe(before);
  for (let second = 0; second < 20; second++) {
    jobs.get("uid-flowers")!.board.note({ pictures: second });
    await pass(1_000);
  }
  expect(writes() - before).toBeLessThanOrEqual(5);
  const now = writes();
  cluster.patch("flowers", { suspend: true });
  await settled();
  expect(writes()).toBeGreaterThan(now);
});

test("each pod's end is told once, with the reason; interruptions never count, failures do up to backoffLimit", async () => {
  const { cluster, pass, status, planned } = await setup();
  await planned("flowers", { backoffLimit: 1 });
  for (let pod = 0; pod < 10; pod++) cluster.pod("flowers", "trainer", `i${String(pod)}`, ended("interrupted", "evicted"));
  cluster.pod("flowers", "extractor", "f1", ended("failed", "exit code 7; its last lines: no device"));
  cluster.pod("flowers", "extractor", "f1", ended("failed", "exit code 7; its last lines: no device"), true);
  await pass(2_000);
  expect(status("flowers")?.phase).toBe("PLANNING");
  expect(cluster.notices.filter(({ reason }) => reason === "WorkerFailed")).toEqual([
    { type: "Warning", reason: "WorkerFailed", message: "extractor f1: failed: exit code 7; its last lines: no device", job: "flowers" },
  ]);
  cluster.pod("flowers", "extractor", "f2", ended("failed"));
  await pass(2_000);
  expect(status("flowers")?.failure).toEqual({
    code: "BACKOFF_LIMIT_EXCEEDED",
    message:
      "2 workers have failed, backoffLimit is 1: the first one, extractor f1: exit code 7; its last lines: no device; the last one, extractor f2: exit code 7",
  });
  expect(cluster.counts("flowers")).toEqual({ extractor: 0, trainer: 0 });
});

test("out of memory is told with what to raise", async () => {
  const { cluster, pass, condition, planned } = await setup();
  await planned("flowers", { backoffLimit: 0 });
  cluster.pod("flowers", "trainer", "t1", ended("outOfMemory", "out of memory"));
  await pass(2_000);
  expect(condition("flowers", "Failed")).toMatchObject({
    reason: "WorkerOutOfMemory",
    message: "a worker has failed, backoffLimit is 0: the first one, trainer t1: out of memory; raise trainers.pod.resources.limits.memory",
  });
});

test("a pod that a smaller number ends is no interruption; one that is moved is, though its successor is there already", async () => {
  const { cluster, pass, planned } = await setup();
  await planned("flowers");
  cluster.pod("flowers", "extractor", "flowers-e1", ended("interrupted", "evicted"));
  cluster.pod("flowers", "extractor", "flowers-e2", running);
  await pass(1_000);
  cluster.patch("flowers", { suspend: true });
  await pass(1_000);
  cluster.pod("flowers", "extractor", "flowers-e2", ended("interrupted", "told to stop"));
  await pass(1_000);
  expect(cluster.notices.filter(({ reason }) => reason === "WorkerInterrupted").map(({ message }) => message)).toEqual([
    "extractor flowers-e1: interrupted: evicted",
  ]);
});

test("a job waits for a node, an image and a start as long as each may take, says meanwhile why, and fails then", async () => {
  const { cluster, pass, status, condition } = await setup();
  cluster.apply("flowers");
  await pass(1_000);
  cluster.pod("flowers", "trainer", "t1", running);
  cluster.pod("flowers", "extractor", "e1", unschedulable);
  await pass(1_000);
  expect(condition("flowers", "Progressing")).toMatchObject({
    status: "False",
    reason: "WorkersUnschedulable",
    message: "extractor e1: no node takes it: 0/3 nodes",
  });
  expect(cluster.notices.at(-1)).toMatchObject({ type: "Warning", reason: "WorkersUnschedulable" });
  // 50 minutes later a node comes: the image has its own ten minutes.
  await pass(3_000_000);
  cluster.pod("flowers", "extractor", "e1", { kind: "waiting", code: undefined, message: "its container is being made" });
  await pass(300_000);
  expect(condition("flowers", "Progressing")?.status).toBe("True");
  cluster.pod("flowers", "extractor", "e1", imageless);
  await pass(1_000);
  await pass(590_000);
  expect(status("flowers")?.phase).toBe("PLANNING");
  await pass(20_000);
  expect(status("flowers")?.failure).toEqual({
    code: "IMAGE_PULL_FAILED",
    message: "extractor e1: image x: ErrImagePull; the job has waited 600 s for it",
  });
});

test("a job whose workers never come fails as well, unless one runs meanwhile", async () => {
  const { cluster, pass, status } = await setup();
  cluster.apply("flowers");
  await pass(500_000);
  cluster.pod("flowers", "extractor", "e1", running);
  cluster.pod("flowers", "trainer", "t1", running);
  await pass(1_000);
  cluster.pod("flowers", "trainer", "t1", ended("interrupted"));
  await pass(500_000);
  expect(status("flowers")?.phase).toBe("PLANNING");
  await pass(120_000);
  expect(status("flowers")?.failure).toEqual({
    code: "WORKERS_NOT_STARTED",
    message: "no trainer is there yet; the job has waited 600 s for it",
  });
});

test("what Kueue has queued is waited for without a bound, and said", async () => {
  const { cluster, pass, status, condition } = await setup();
  const labels = { "kueue.x-k8s.io/queue-name": "team" };
  cluster.apply("flowers", { extractors: { pod: { labels } }, trainers: { max: 4, pod: { labels } } });
  await pass(1_000);
  expect(cluster.counts("flowers")).toEqual({ extractor: 1, trainer: 4 });
  await pass(7_200_000);
  expect(status("flowers")?.phase).toBe("PLANNING");
  expect(condition("flowers", "Progressing")).toMatchObject({ status: "True", message: expect.stringContaining("Kueue") as unknown });
});

test("a namespace that is not prepared is said, and its jobs go on when somebody has prepared it", async () => {
  const { cluster, pass } = await setup();
  cluster.apply("flowers", {}, "bare");
  const progressing = () => cluster.job("flowers", "bare").status?.conditions?.find(({ type }) => type === "Progressing");
  await pass(1_000);
  expect(progressing()).toMatchObject({
    status: "False",
    reason: "WorkersNotStarted",
    message: expect.stringMatching(/namespace bare is not prepared for graft .*docs\/kubernetes\.md/) as unknown,
  });
  await pass(300_000);
  cluster.prepare("bare");
  cluster.templates.delete("bare");
  await pass(40_000);
  expect(progressing()?.message).toMatch(/has no PodTemplate graft-/);
  cluster.prepare("bare");
  await pass(40_000);
  expect(cluster.counts("flowers", "bare")).toEqual({ extractor: 1, trainer: 1 });
  expect(progressing()?.status).toBe("True");
});

test("a quota that is used up is said, and tried again", async () => {
  const { cluster, pass, condition } = await setup();
  cluster.refusal = new CodedError("CLUSTER_REFUSED", "exceeded quota: team");
  cluster.apply("flowers");
  await pass(1_000);
  expect(condition("flowers", "Progressing")).toMatchObject({
    status: "False",
    message: expect.stringContaining("exceeded quota") as unknown,
  });
  cluster.refusal = undefined;
  await pass(40_000);
  expect(cluster.counts("flowers")).toEqual({ extractor: 1, trainer: 1 });
});

test("a job whose spec cannot be has failed, for ever and for the next controller too; its time after the end is kept", async () => {
  const { cluster, pass, status, condition, requests, stopAll, store, clock } = await setup();
  cluster.apply("closed", { cacheDomain: "closed", ttlSecondsAfterFinished: 60 });
  await pass(1_000);
  expect(condition("closed", "Failed")).toMatchObject({ status: "True", reason: "SpecInvalid" });
  const { completionTime } = status("closed") ?? {};
  await expect(
    requests.submitJob("r", { metadata: { name: "other", namespace: "team" }, spec: { cacheDomain: "closed" } }),
  ).rejects.toMatchObject({
    code: "SPEC_INVALID",
  });
  expect(cluster.counts("closed")).toEqual({ extractor: -1, trainer: -1 });
  await stopAll();
  cluster.patch("closed", { cacheDomain: "open" });
  const next = await setup(cluster, store, clock);
  await next.pass(10_000);
  expect(next.status("closed")).toMatchObject({ phase: "FAILED", completionTime });
  await next.pass(60_000);
  expect(cluster.jobs.size).toBe(0);
});

test("deleted, a job's workers go first, then its objects, then its record", async () => {
  const { cluster, store, jobs, pass, planned } = await setup();
  await planned("flowers");
  cluster.holdsDeletions = true;
  cluster.remove("flowers");
  await pass(1_000);
  const keys = async (): Promise<string[]> => {
    const all: string[] = [];
    for await (const key of store.list("jobs/uid-flowers/")) all.push(key);
    return all;
  };
  expect(jobs.get("uid-flowers")).toBeUndefined();
  expect((await keys()).length).toBeGreaterThan(0);
  expect(cluster.changes).not.toContain("release flowers");
  cluster.finishDeletions();
  await pass(10_000);
  expect(await keys()).toEqual([]);
  expect(cluster.changes.at(-1)).toBe("release flowers");
  expect(cluster.jobs.size).toBe(0);
});

test("deleted while no controller was there, a complete job leaves its result unless it says DELETE", async () => {
  for (const [deletionPolicy, kept] of [
    ["RETAIN", 1],
    ["DELETE", 0],
  ] as const) {
    const [cluster, store] = [new MemoryCluster(), memoryObjectStore()];
    const job = cluster.apply("flowers", { deletionPolicy });
    await cluster.resources.hold(job);
    cluster.remove("flowers");
    await store.put("jobs/uid-flowers/status.json", Buffer.from('{"formatVersion":1,"phase":"Complete","suspended":false,"failure":null}'));
    await store.put("jobs/uid-flowers/result/weights.safetensors", Buffer.from("w"));
    await store.put("jobs/uid-flowers/commits/0.json", Buffer.from("{}"));
    const { pass } = await setup(cluster, store);
    await pass(1_000);
    const results: string[] = [];
    for await (const key of store.list("jobs/uid-flowers/")) if (/result\/|commits/.test(key)) results.push(key);
    expect(results).toHaveLength(kept);
    expect(cluster.jobs.size).toBe(0);
  }
});

test("a controller that is started anew goes on: no failure is forgotten, none counted or told twice", async () => {
  const first = await setup();
  const { cluster, store, clock } = first;
  await first.planned("flowers", { backoffLimit: 1 });
  cluster.pod("flowers", "extractor", "f1", ended("failed"));
  await first.pass(1_000);
  const told = cluster.notices.length;
  await first.stopAll();
  const next = await setup(cluster, store, clock);
  cluster.pod("flowers", "extractor", "f1", ended("failed"));
  cluster.pod("flowers", "extractor", "flowers-e1", running);
  cluster.pod("flowers", "trainer", "flowers-t1", running);
  await next.pass(2_000);
  expect(cluster.notices).toHaveLength(told);
  expect(next.status("flowers")?.phase).toBe("PLANNING");
  expect(cluster.changes.filter((change) => change.startsWith("create Job"))).toHaveLength(2);
  cluster.pod("flowers", "extractor", "f2", ended("failed"));
  await next.pass(2_000);
  const failed = next.status("flowers");
  expect(failed?.failure?.code).toBe("BACKOFF_LIMIT_EXCEEDED");
  await next.stopAll();
  const third = await setup(cluster, store, clock);
  await third.pass(5_000);
  expect(third.status("flowers")).toEqual(failed);
});

test("other overrides of its pods make other pods; a foreign Job of its name is left alone and told", async () => {
  const { cluster, pass, planned, condition } = await setup();
  await planned("flowers");
  cluster.patch("flowers", { trainers: { pod: { priorityClassName: "high" } } });
  await pass(1_000);
  expect(cluster.changes).toContain("delete Job team/flowers-trainers");
  expect(cluster.batchJobs.get("team/flowers-trainers")?.spec?.template.spec?.priorityClassName).toBe("high");
  const stands = cluster.batchJobs.get("team/flowers-trainers")!;
  const foreign = { ...stands, metadata: { ...stands.metadata, name: "roses-trainers", ownerReferences: [] } };
  foreign.metadata.labels = { ...foreign.metadata.labels, "graft.dev/job-uid": "uid-roses" };
  cluster.batchJobs.set("team/roses-trainers", foreign);
  const other = await setup(cluster);
  cluster.apply("roses");
  await other.pass(1_000);
  expect(condition("roses", "Progressing")?.message).toBe(
    "Job team/roses-trainers is not this job's; delete it, or give this job another name",
  );
});
