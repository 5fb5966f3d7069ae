import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { ResourcePhase } from "../../domain/job/resource.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { finished, jobOn, richJob, samplePictures, temporaryFolder } from "../support/local-jobs.js";
import { type ClusterServers, type ClusterShape, startServers, stopServers, TestCluster } from "../support/test-cluster.js";

const missing = (["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram);
const fault = test.skipIf(missing.length > 0);
const because = missing.length === 0 ? "" : ` (${missing.join("; ")})`;

/** Steps are short: a trainer is given up after three seconds of silence, so that a test need not wait for ten. */
const shape: ClusterShape = { extractors: 2, trainers: 3, stepDeadlineMs: 3_000, leaseMs: 3_000 };

const folder = temporaryFolder();
const pictures = samplePictures(join(folder.path, "pictures"), 40);
/** Seconds of training, checkpoints every fifty steps, everything that draws random numbers or keeps a state. */
const steps = 200;
const job = { ...richJob, training: { ...richJob.training, steps, evaluateEverySteps: 40 } };
let expected = "";
/** For all tests that do not kill them; each has a bucket of its own. */
let servers: ClusterServers | undefined;
let cluster: TestCluster | undefined;

beforeAll(async () => {
  if (missing.length > 0) return;
  const { result } = await finished({ store: join(folder.path, "local"), spec: jobOn(pictures, job) });
  expected = result.metrics.weightsSha256;
  servers = await startServers();
});
afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});
afterAll(async () => {
  if (servers !== undefined) await stopServers(servers);
  folder.remove();
});

/** A cluster with the pictures in its bucket and the job submitted. */
async function setup(options: ClusterShape["options"] = {}, more: Partial<ClusterShape> = {}) {
  const started = await TestCluster.start({ ...shape, servers, ...more, options });
  cluster = started;
  const source = await started.upload(pictures);
  const jobId = await started.submit(jobOn(source, job, { trainers: more.trainers ?? shape.trainers, extractors: shape.extractors }));
  return { cluster: started, jobId };
}

const trainingFrom =
  (step: number) => (job: { readonly status: { readonly phase: ResourcePhase; readonly progress?: { readonly step?: number } } }) =>
    job.status.phase === "TRAINING" && (job.status.progress?.step ?? 0) >= step;

/** In the middle of a phase: extraction takes less than a second, so a task is waited for where it is claimed, not where the status shows it. */
async function atWork(cluster: TestCluster, jobId: string, phase: "EXTRACTING" | "TRAINING"): Promise<void> {
  if (phase === "TRAINING") await cluster.until(jobId, trainingFrom(60));
  else await Promise.race(["extractor-0", "extractor-1"].map((name) => cluster.process(name).logged(({ msg }) => msg === "task claimed")));
}

fault(
  `without a fault: the weights of the one-process run; every extractor commits, every trainer computes its grains and sends bytes${because}`,
  async () => {
    const { cluster, jobId } = await setup();
    expect(await cluster.finished(jobId)).toBe(expected);
    for (const name of ["extractor-0", "extractor-1"]) await cluster.process(name).logged(({ msg }) => msg === "task committed");
    for (const name of ["trainer-0", "trainer-1", "trainer-2"]) {
      const left = await cluster.process(name).logged(({ msg }) => msg === "left a generation");
      expect(left["grains"]).toBeGreaterThanOrEqual(2 * steps);
      expect(left["sentBytes"]).toBeGreaterThan(500_000);
    }
    expect(await cluster.generations(jobId)).toEqual([["trainer-0", "trainer-1", "trainer-2"]]);
  },
);

for (const [where, killAt] of [
  ["after a claim", { milestone: "after claim" }],
  ["in mid-batch", { milestone: "mid batch", occurrence: 3 }],
  ["after the PUT of a shard and before the commit", { milestone: "after shard put" }],
] as const)
  fault(`an extractor killed ${where}: the others do its task, the same weights${because}`, async () => {
    const { cluster, jobId } = await setup({ "extractor-0": { killAt } }, { extractors: 1 });
    expect(await cluster.process("extractor-0").ended).toEqual({ code: null, signal: "SIGKILL" });
    cluster.run("extractor-1", "extractor");
    cluster.run("extractor-0", "extractor"); // as a pod would come again
    expect(await cluster.finished(jobId)).toBe(expected);
  });

for (const [where, killAt] of [
  ["in mid-exchange", { milestone: "mid exchange", occurrence: 70 }],
  ["between its update and that of others", { milestone: "between updates", occurrence: 71 }],
  ["after a checkpoint", { milestone: "after checkpoint", occurrence: 2 }],
] as const)
  fault(`a trainer killed ${where}: the others go on with the state that they hold, the same weights${because}`, async () => {
    const { cluster, jobId } = await setup({ "trainer-0": { killAt } });
    expect(await cluster.process("trainer-0").ended).toEqual({ code: null, signal: "SIGKILL" });
    expect(await cluster.finished(jobId)).toBe(expected);
    const generations = await cluster.generations(jobId);
    expect(generations.length).toBeGreaterThan(1);
    expect(generations.at(-1)).toEqual(["trainer-1", "trainer-2"]);
  });

fault(`all trainers killed at once: new ones go on from the last checkpoint, the same weights${because}`, async () => {
  const { cluster, jobId } = await setup();
  await cluster.until(jobId, trainingFrom(60));
  const names = ["trainer-0", "trainer-1", "trainer-2"];
  await Promise.all(names.map((name) => cluster.process(name).kill()));
  for (const name of ["trainer-3", "trainer-4", "trainer-5"]) cluster.run(name, "trainer");
  expect(await cluster.finished(jobId)).toBe(expected);
  const starts = (await cluster.generationRecords(jobId)).map(({ startStep }) => startStep);
  expect(Math.max(...starts)).toBeGreaterThanOrEqual(50);
});

fault(`a trainer that joins in the middle is taken in where more are wanted, the same weights${because}`, async () => {
  const { cluster, jobId } = await setup({}, { trainers: 2 });
  // Two are there for two places and a third one waits; one dies, and it takes its place while the other trains on.
  const late = cluster.run("trainer-9", "trainer");
  await late.logged(({ msg }) => msg === "asking for a job");
  await cluster.until(jobId, trainingFrom(60));
  await cluster.process("trainer-1").kill();
  expect(await cluster.finished(jobId)).toBe(expected);
  expect(await cluster.generations(jobId)).toContainEqual(["trainer-0", "trainer-9"]);
});

fault(
  `a trainer frozen for longer than the deadline and woken again: its old generation counts for nothing, the same weights${because}`,
  async () => {
    const { cluster, jobId } = await setup({ "trainer-2": { killAt: { milestone: "mid exchange", occurrence: 70, signal: "SIGSTOP" } } });
    const objects = await cluster.objects(jobId);
    // The others have gone on without it before it wakes.
    while (!(await cluster.generations(jobId)).some((members) => members.join() === "trainer-0,trainer-1"))
      await new Promise((resolve) => setTimeout(resolve, 100));
    await cluster.process("trainer-2").kill("SIGCONT");
    expect(await cluster.finished(jobId)).toBe(expected);
    expect((await objects.numberedFacts("generations")).length).toBeGreaterThan(1);
  },
);

for (const milestone of ["after scan", "after plan", "after commit", "after samples", "after result"] as const)
  fault(`the coordinator killed ${milestone}: the next one goes on, the same weights${because}`, async () => {
    const { cluster, jobId } = await setup({ coordinator: { killAt: { milestone } } });
    expect(await cluster.process("coordinator").ended).toEqual({ code: null, signal: "SIGKILL" });
    cluster.run("coordinator", "coordinator");
    expect(await cluster.finished(jobId)).toBe(expected);
  });

for (const phase of ["EXTRACTING", "TRAINING", "EVALUATING", "EXPORTING"] as const)
  fault(`the coordinator killed in ${phase}: the next one goes on, the same weights${because}`, async () => {
    const { cluster, jobId } = await setup();
    await cluster.until(jobId, (job) => (phase === "TRAINING" ? trainingFrom(60)(job) : ["COMPLETE", phase].includes(job.status.phase)));
    await cluster.process("coordinator").kill();
    cluster.run("coordinator", "coordinator");
    expect(await cluster.finished(jobId)).toBe(expected);
  });

/** For tests that kill them. */
const ownServers = { servers: undefined };

fault(`nats-server killed and started again in training: the same weights${because}`, async () => {
  const { cluster, jobId } = await setup({}, ownServers);
  await cluster.until(jobId, trainingFrom(60));
  await cluster.nats.kill("SIGKILL");
  await cluster.process("trainer-0").logged(({ msg }) => msg === "the gradient bus is lost");
  await cluster.nats.restart();
  expect(await cluster.finished(jobId)).toBe(expected);
});

for (const phase of ["EXTRACTING", "TRAINING"] as const)
  fault(`MinIO killed in ${phase} and started again: nothing is rejected, the same weights${because}`, async () => {
    const { cluster, jobId } = await setup({}, ownServers);
    await atWork(cluster, jobId, phase);
    await cluster.minio.kill("SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 2_000)); // long enough for calls to fail
    await cluster.minio.restart();
    expect(await cluster.finished(jobId)).toBe(expected);
    expect((await cluster.jobs.getJob({ name: jobId })).status.progress?.rejected).toBe(0);
  });

for (const [link, phase] of [
  ["extractor-coordinator", "EXTRACTING"],
  ["extractor-store", "EXTRACTING"],
  ["coordinator-store", "EXTRACTING"],
  ["trainer-coordinator", "TRAINING"],
  ["trainer-store", "TRAINING"],
  ["trainer-bus", "TRAINING"],
  ["coordinator-store", "TRAINING"],
] as const)
  fault(`the network cut between ${link.replace("-", " and ")} in ${phase}: the same weights${because}`, async () => {
    const { cluster, jobId } = await setup();
    const wire = cluster.wires[link];
    await atWork(cluster, jobId, phase);
    wire.cut();
    await new Promise((resolve) => setTimeout(resolve, 5_000)); // longer than the step deadline
    const heldBytes = wire.heldBytes();
    wire.mend();
    expect(await cluster.finished(jobId)).toBe(expected);
    // A link that nobody used while it was cut was no fault: training needs neither store nor coordinator from step to step.
    if (link !== "trainer-store" && link !== "coordinator-store") expect(heldBytes).toBeGreaterThan(0);
  });

fault(`two coordinators on one store, the first one paused and woken again: the same weights${because}`, async () => {
  const { cluster, jobId } = await setup();
  await cluster.until(jobId, (job) => job.status.phase === "EXTRACTING");
  const old = cluster.process("coordinator");
  await old.kill("SIGSTOP");
  // The second one takes over the address, as a Service that selects another pod.
  await cluster.takeOver();
  await cluster.until(jobId, trainingFrom(60));
  await old.kill("SIGCONT");
  expect(await cluster.finished(jobId)).toBe(expected);
  expect(old.isRunning).toBe(true);
});
