import { execFile } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JobSpec } from "../../domain/job/spec.js";
import { temporaryFolder } from "../support/local-jobs.js";
import type { StreamedRun, StreamedRunRequest } from "../support/streamed-run.js";

const MIB = 1024 * 1024;
const LIMIT_MIB = 128;
/** Four times the limit: features of 5,120 bytes. */
const ROWS = { train: (4 * LIMIT_MIB * MIB) / 5120, validation: 4000, test: 4000 };

const program = join(process.env["GRAFT_TEST_DIST"] ?? resolve(import.meta.dirname, "../../dist"), "test/support/streamed-run.js");
const folder = temporaryFolder();
const store = join(folder.path, "store");
const spec: JobSpec = {
  dataset: { source: "made up" },
  backbone: { name: "mobilenet_v2_0.35_224" },
  training: { epochs: 2, featureMemoryMib: LIMIT_MIB, evaluateEveryEpochs: 1 },
};

async function run(request: Omit<StreamedRunRequest, "store" | "jobId" | "spec">): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, JSON.stringify({ store, jobId: "streamed", spec, ...request })]);
  return stdout;
}

async function train(trainers: number): Promise<StreamedRun> {
  const result = JSON.parse(await run({ trainers })) as StreamedRun;
  const { peakMemory, peakBeforeTraining, baseMemory, trainingBytes, epochs, trainBytes, secondsBeforeTraining, seconds } = result;
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`;
  console.warn(
    `${String(trainers)} trainers: peak ${mib(peakMemory)} (${mib(peakBeforeTraining)} up to the first step, ${mib(baseMemory)} before anything is read), ${(trainingBytes / epochs / trainBytes).toFixed(3)} x training features read an epoch, ${secondsBeforeTraining.toFixed(1)} s before the first step of ${seconds.toFixed(1)} s`,
  );
  return result;
}

let first: StreamedRun;
beforeAll(async () => {
  await run({ make: { ...ROWS, train: Math.ceil(ROWS.train) } });
  first = await train(1);
});
afterAll(folder.remove);

/** The whole process, engine and program included; trainers of one process share the limit. */
function expectBounded({ peakMemory, trainingBytes, epochs, trainBytes, exportBytes }: StreamedRun): void {
  expect(trainBytes).toBeGreaterThanOrEqual(4 * LIMIT_MIB * MIB);
  expect(peakMemory).toBeLessThan((LIMIT_MIB + 300) * MIB);
  // Evaluation on the way included.
  expect(trainingBytes / epochs).toBeLessThan(1.1 * trainBytes);
  expect(trainingBytes / epochs).toBeGreaterThan(0.99 * trainBytes);
  expect(exportBytes).toBeLessThan(1.1 * trainBytes);
}

test("one trainer makes the lanes, trains and evaluates within its limit", () => {
  expectBounded(first);
  // Each shard once, for all lanes and both other splits.
  expect(first.shardBytes / first.trainBytes).toBeLessThan(1.1);
  expect(first.testAccuracy).toBeGreaterThan(0.6);
});

test("2 trainers use the lanes that stand: no shard is read, the same weights", async () => {
  const result = await train(2);
  expectBounded(result);
  expect(result.shardBytes).toBe(0);
  expect(result.weightsSha256).toBe(first.weightsSha256);
});

test("4 trainers make their lanes themselves: the same weights", async () => {
  for (const digest of readdirSync(join(store, "features"))) {
    const lanes = join(store, "features", digest, "lanes");
    if (existsSync(lanes)) rmSync(lanes, { recursive: true });
  }
  const result = await train(4);
  expectBounded(result);
  // Trainers that ask at the same time have their lanes made in one pass.
  expect(result.shardBytes).toBeGreaterThanOrEqual(first.shardBytes);
  expect(result.shardBytes).toBeLessThanOrEqual(2 * first.shardBytes);
  expect(result.weightsSha256).toBe(first.weightsSha256);
});
