import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { milestones, type Milestone, type CommitRecord } from "../../domain/job/records.js";
import { RandomStream, randomKey } from "../../domain/random.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { finished, JobProcess, jobOn, type ProcessEnd, richJob, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";
import type { LocalRunRequest } from "../support/local-run.js";

const PICTURES = 200;
const folder = temporaryFolder();
const pictures = join(folder.path, "pictures");
let stores = 0;
const newStore = (): string => join(folder.path, `store-${String(stores++)}`);

beforeAll(() => {
  samplePictures(pictures);
});
afterAll(folder.remove);

/** Pictures of the tasks that are committed in the only job of a store. */
function committedPictures(store: string): number {
  const [jobId] = readdirSync(join(store, "jobs"));
  const commits = join(store, "jobs", jobId!, "commits");
  const files = readdirSync(join(store, "jobs", jobId!)).includes("commits") ? readdirSync(commits) : [];
  const counts = files.map((file) => (JSON.parse(readFileSync(join(commits, file), "utf8")) as CommitRecord).extracted);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** At which occurrence a milestone is tried: one in the middle of the work that it belongs to. */
const occurrences: Readonly<Record<Milestone, number>> = {
  "after scan": 1,
  "after plan": 1,
  "after claim": 3,
  "mid batch": 12,
  "after shard put": 2,
  "after commit": 2,
  "after samples": 1,
  "mid exchange": 141,
  "between updates": 141,
  "before checkpoint": 2,
  "after checkpoint": 2,
  "after evaluation": 1,
  "mid export": 4,
  "after result": 1,
};

describe("killed by SIGKILL and run again, two extractors and two trainers", () => {
  const job: JobSpec = { ...richJob, training: { ...richJob.training, steps: 150 } };
  let spec: JobSpec;
  let undisturbed: string;
  let durationMs: number;

  beforeAll(async () => {
    spec = jobOn(pictures, job, { trainers: 2, extractors: 2 });
    const startMs = performance.now();
    const { result, decoded } = await finished({ store: newStore(), spec });
    durationMs = performance.now() - startMs;
    undisturbed = result.metrics.weightsSha256;
    expect(decoded).toBe(PICTURES);
  });

  test.each(milestones)("%s", async (milestone) => {
    const store = newStore();
    const killed = await new JobProcess({ store, spec, kill: { milestone, occurrence: occurrences[milestone] } }).end;
    expect(killed, killed.stderr).toMatchObject({ signal: "SIGKILL", result: undefined });
    const committed = committedPictures(store);

    const { result, decoded } = await finished({ store, spec });
    expect(result.metrics.weightsSha256).toBe(undisturbed);
    // What is committed is kept; what was in flight, two tasks an extractor, may be done again.
    expect(decoded).toBeLessThanOrEqual(PICTURES - committed);
    expect(killed.decoded + decoded).toBeLessThanOrEqual(PICTURES + 2 * 2 * 64);
    if (milestones.indexOf(milestone) >= milestones.indexOf("after samples")) expect([committed, decoded]).toEqual([PICTURES, 0]);
    // And training goes on from the last checkpoint.
    const done = result.grainsComputed["trainer-0"] ?? 0;
    if (milestones.indexOf(milestone) > milestones.indexOf("before checkpoint")) expect(done).toBeLessThanOrEqual(50 * 4);
    if (milestone === "after result") expect(done).toBe(0);
  });

  test("20 kills at random times, again and again on the same job", async () => {
    const seed = process.env["GRAFT_TEST_SEED"] === undefined ? Date.now() % 1_000_000 : Number(process.env["GRAFT_TEST_SEED"]);
    console.warn(`random kills: GRAFT_TEST_SEED=${String(seed)}`);
    const random = randomNumbers(seed);
    let kills = 0;
    let completed = 0;
    let store = newStore();
    while (kills < 20) {
      const run = new JobProcess({ store, spec });
      const timer = setTimeout(() => run.child.kill("SIGKILL"), random() * durationMs);
      const { signal, result, failure } = await run.end;
      clearTimeout(timer);
      if (signal === "SIGKILL") kills++;
      else {
        expect(result?.metrics.weightsSha256, failure?.message).toBe(undisturbed);
        completed++;
        store = newStore();
      }
    }
    const { result } = await finished({ store, spec });
    expect(result.metrics.weightsSha256).toBe(undisturbed);
    console.warn(`random kills: ${String(kills)} on ${String(completed + 1)} jobs`);
  });
});

test("early stopping stops at the same step with the same weights after kills before, at and after a checkpoint", async () => {
  const early: JobSpec = {
    ...smallJob,
    head: { layers: [{ dropout: { rate: 0.2 } }, { dense: { units: 8, activation: "RELU" } }] },
    training: {
      ...smallJob.training,
      steps: 2_000,
      optimizer: { adam: { learningRate: 0.01 } },
      evaluateEverySteps: 10,
      earlyStopping: { patienceEvaluations: 6 },
    },
  };
  const spec = jobOn(pictures, early);
  const undisturbed = (await finished({ store: newStore(), spec })).result;
  const { steps } = undisturbed.metrics.train;
  expect(steps).toBeGreaterThan(60);
  expect(steps).toBeLessThan(2_000);
  const store = newStore();
  for (const kill of [
    { milestone: "between updates", occurrence: 35 },
    { milestone: "between updates", occurrence: steps - 5 },
    { milestone: "before checkpoint", occurrence: 1 },
    { milestone: "mid export", occurrence: 2 },
  ] as const) {
    expect((await new JobProcess({ store, spec, kill }).end).signal).toBe("SIGKILL");
  }
  const { result } = await finished({ store, spec });
  expect(result.metrics.train.steps).toBe(steps);
  expect(result.metrics.weightsSha256).toBe(undisturbed.metrics.weightsSha256);
  expect(result.files["model.onnx"]).toBe(undisturbed.files["model.onnx"]);
});

describe("SIGINT", () => {
  const long: JobSpec = { ...richJob, training: { ...richJob.training, steps: 2_000, evaluateEverySteps: 37 } };

  async function interrupt(
    request: LocalRunRequest,
    kind: string,
    accepts?: (event: Readonly<Record<string, unknown>>) => boolean,
  ): Promise<ProcessEnd> {
    const run = new JobProcess(request);
    await run.announced(kind, accepts);
    const startMs = performance.now();
    run.child.kill("SIGINT");
    const end = await run.end;
    // The promise itself: Ctrl-C stops within two seconds.
    expect(performance.now() - startMs).toBeLessThan(2_000);
    expect(end, end.stderr).toMatchObject({ exitCode: 130, signal: null, failure: { code: "INTERRUPTED" } });
    return end;
  }

  test.each([1, 3])("in training with %i trainers: the next run goes on from that step, with the same result", async (trainers) => {
    const spec = jobOn(pictures, long, { trainers });
    const undisturbed = (await finished({ store: newStore(), spec: jobOn(pictures, long) })).result;
    const store = newStore();
    const first = await interrupt({ store, spec }, "step", ({ step }) => Number(step) > 300);
    expect(first.failure?.message).toMatch(
      /^interrupted; kept in .*: all features and the training up to step \d+\. Run the same command again to go on/,
    );
    const step = Number(/up to step (\d+)/.exec(first.failure?.message ?? "")?.[1]);
    expect(step).toBeGreaterThan(300);
    const second = await interrupt({ store, spec }, "evaluation", (event) => Number(event["step"]) > step + 200);

    const { result, events, decoded } = await finished({ store, spec });
    expect(events.filter(({ kind }) => kind === "warning").map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^going on with job/),
    );
    expect(result.metrics.weightsSha256).toBe(undisturbed.metrics.weightsSha256);
    const kept = Number(/up to step (\d+)/.exec(second.failure?.message ?? "")?.[1]);
    const grains = Object.values(result.grainsComputed).reduce((sum, count) => sum + count);
    expect([decoded, grains]).toEqual([0, (2_000 - kept) * 8]);
  });

  test.each([1, 3])("in extraction by %i: what is extracted is kept", async (extractors) => {
    const spec = jobOn(pictures, { ...smallJob, preprocessing: { size: 192 } }, { extractors });
    const store = newStore();
    const first = await interrupt({ store, spec }, "extraction", ({ done }) => Number(done) > 20);
    expect(first.failure?.message).toMatch(/kept in .*: the features extracted so far/);
    // Two tasks of 64 pictures are under way in each extractor.
    expect(first.decoded).toBeLessThanOrEqual(extractors * 3 * 64);
    const { result, decoded } = await finished({ store, spec });
    expect(decoded).toBeLessThanOrEqual(PICTURES - 20);
    const undisturbed = (await finished({ store: newStore(), spec })).result;
    expect(result.metrics.weightsSha256).toBe(undisturbed.metrics.weightsSha256);
  });
});

/** Numbers in [0, 1) that a seed decides. */
function randomNumbers(seed: number): () => number {
  const stream = new RandomStream(randomKey(seed, "shuffle"), 0);
  return () => stream.uint32() / 2 ** 32;
}
