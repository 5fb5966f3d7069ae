import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { jobOn, richJob, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";
import { type ClusterServers, type ServiceProcess, startServers, stopServers, TestCluster } from "../support/test-cluster.js";

const missing = (["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram);
const recovery = test.skipIf(missing.length > 0);
const because = missing.length === 0 ? "" : ` (${missing.join("; ")})`;

const leaseMs = 3_000;
const stepDeadlineMs = 3_000;
/** Two tasks, one for each extractor: no straggler is offered before three are done, so that only the end of a lease frees one. */
const picturesPerClass = 25;
/** A worker that waits for a task asks for it in one call; it is woken when a lease ends, and should it not be, looks again after this. */
const pollMs = 1_000;

const folder = temporaryFolder();
const pictures = samplePictures(join(folder.path, "pictures"), picturesPerClass);
let servers: ClusterServers | undefined;
let cluster: TestCluster | undefined;

beforeAll(async () => {
  if (missing.length === 0) servers = await startServers();
});
afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});
afterAll(async () => {
  if (servers !== undefined) await stopServers(servers);
  folder.remove();
});

/** When a process wrote a line of its log, in milliseconds of this machine's clock. */
const timeOf = (line: Readonly<Record<string, unknown>>): number => Date.parse(String(line["time"]));

async function diedMs(process: ServiceProcess): Promise<number> {
  expect((await process.ended).signal).toBe("SIGKILL");
  return Date.now();
}

for (const [where, killAt] of [
  ["after its claim", { milestone: "after claim" }],
  ["in mid-batch", { milestone: "mid batch", occurrence: 3 }],
] as const)
  recovery(`an extractor killed ${where}: another one has its very task within lease time plus one poll${because}`, async () => {
    cluster = await TestCluster.start({ servers, extractors: 2, trainers: 1, leaseMs, options: { "extractor-0": { killAt } } });
    const [victim, other] = [cluster.process("extractor-0"), cluster.process("extractor-1")];
    for (const extractor of [victim, other]) await extractor.logged(({ msg }) => msg === "asking for tasks");
    const jobId = await cluster.submit(jobOn(await cluster.upload(pictures), smallJob, { extractors: 2 }));

    const died = await diedMs(victim);
    const { task } = victim.lines.find(({ msg }) => msg === "task claimed")!;
    const claimed = await other.logged((line) => line.msg === "task claimed" && line["task"] === task);
    const tookMs = timeOf(claimed) - died;
    console.log(`an extractor killed ${where}: its task was claimed ${String(tookMs)} ms after its death, lease ${String(leaseMs)} ms`);
    expect(tookMs, "ms from the death to the next claim of the task").toBeLessThanOrEqual(leaseMs + pollMs);

    await other.logged((line) => line.msg === "task committed" && line["task"] === task);
    expect(victim.lines.some(({ msg }) => msg === "task committed")).toBe(false);
    await cluster.finished(jobId);
  });

recovery(`a trainer killed in mid-training: the others end a further step within the step deadline plus 2 s${because}`, async () => {
  cluster = await TestCluster.start({
    servers,
    extractors: 1,
    trainers: 3,
    stepDeadlineMs,
    options: {
      coordinator: { config: { telemetry: { level: "debug" } } },
      "trainer-1": { killAt: { milestone: "mid exchange", occurrence: 120 } },
    },
  });
  const job = { ...richJob, training: { ...richJob.training, steps: 200 } };
  const jobId = await cluster.submit(jobOn(await cluster.upload(pictures), job, { trainers: 3 }));

  const died = await diedMs(cluster.process("trainer-1"));
  await cluster.finished(jobId);
  const generations = await cluster.generationRecords(jobId);
  expect(generations.map(({ trainers }) => trainers)).toEqual([
    ["trainer-0", "trainer-1", "trainer-2"],
    ["trainer-0", "trainer-2"],
  ]);
  // The coordinator logs each report of a step. One beyond the start of the second generation was done in it.
  const { startStep } = generations[1]!;
  expect(startStep).toBeGreaterThan(0);
  const further = cluster.process("coordinator").lines.find((line) => line.msg === "step" && (line["step"] as number) > startStep)!;
  const tookMs = timeOf(further) - died;
  console.log(`a trainer killed: a further step ended ${String(tookMs)} ms after its death, step deadline ${String(stepDeadlineMs)} ms`);
  expect(tookMs, "ms from the death to the next step of the others").toBeLessThanOrEqual(stepDeadlineMs + 2_000);
});
