import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Plan } from "../../domain/job/plan.js";
import { listEngines } from "../../platform/engine/engines.js";
import { temporaryFolder } from "../support/local-jobs.js";
import { graft } from "../support/program.js";

const folder = temporaryFolder();
afterAll(folder.remove);
const store = join(folder.path, "store");
const samples = join(import.meta.dirname, "../../samples/flowers");

function jobFile(name: string, spec: object): string {
  const path = join(folder.path, `${name}.json`);
  const job = { apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: { name }, spec: { dataset: { source: samples }, ...spec } };
  writeFileSync(path, JSON.stringify(job));
  return path;
}

/** Seven million parameters in eight grains, all that is kept of them, on features of a few pictures. */
const wideHead = jobFile("wide-head", {
  backbone: { name: "mobilenet_v2_0.35_224", lastLayer: "block_12_add" },
  preprocessing: { size: 96 },
  cut: "block_12_add",
  head: { layers: [{ dense: { units: 6000, activation: "RELU" } }] },
  training: { steps: 12, batchSize: 32, optimizer: { adam: {} }, evaluateEverySteps: 6, earlyStopping: { patienceEvaluations: 3 } },
});

const lastBlock = {
  backbone: { name: "mobilenet_v2_1.0_224" },
  cut: "block_15_add",
  training: { steps: 4, batchSize: 32, batchNorm: "BATCH", evaluateEverySteps: 4 },
};
const lastBlockInOnnx = jobFile("last-block", lastBlock);
const lastBlockInTensorflow = jobFile("last-block-tensorflow", { ...lastBlock, trainers: { engine: "tensorflow" } });

async function planOf(file: string, ...flags: string[]): Promise<Plan> {
  return JSON.parse(await graft(["plan", file, "--store", store, "--json", "--no-probe", ...flags])) as Plan;
}

/** The most memory that `graft run` has held, in bytes, as Linux counts it. */
async function peakOfRun(file: string, ...flags: string[]): Promise<number> {
  const program = join(import.meta.dirname, "../../dist/cli/main.js");
  const child = spawn(process.execPath, [program, "run", file, "--store", store, "--out", join(folder.path, "out"), ...flags], {
    stdio: "ignore",
  });
  let peak = 0;
  const watch = setInterval(() => {
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    peak = Math.max(peak, 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
  }, 20);
  const exitCode = await new Promise<number | null>((resolve, reject) => void child.once("error", reject).once("exit", resolve));
  clearInterval(watch);
  expect(exitCode).toBe(0);
  return peak;
}

describe.runIf(process.platform === "linux")("peak memory of a trainer is what the plan says, -10 % to +40 %", () => {
  async function compare(file: string): Promise<void> {
    await graft(["run", file, "--store", store, "--out", join(folder.path, "first")]); // leaves the features
    const peak = await peakOfRun(file, "--learning-rate", "0.002");
    const { memory } = (await planOf(file)).training;
    expect(memory.total / peak, `planned ${memory.total}, measured ${peak}`).toBeGreaterThan(0.9);
    expect(memory.total / peak, `planned ${memory.total}, measured ${peak}`).toBeLessThan(1.4);
  }

  test("a wide head in onnx", () => compare(wideHead), 180_000);

  test("the last block of MobileNetV2 in onnx", () => compare(lastBlockInOnnx), 180_000);

  test("the last block of MobileNetV2 in tensorflow", async ({ skip }) => {
    const engine = (await listEngines()).find(({ name }) => name === "tensorflow");
    if (engine?.available !== true) return skip(`engine tensorflow: ${engine?.detail ?? "unknown"}`);
    await compare(lastBlockInTensorflow);
  }, 300_000);
});

test("what a run measured holds for the same work and for no other", async () => {
  const file = jobFile("measured", { backbone: { name: "mobilenet_v2_0.35_224" }, preprocessing: { size: 64 }, training: { steps: 60 } });
  await graft(["run", file, "--store", store, "--out", join(folder.path, "measured")]);
  const origins = async (...flags: string[]): Promise<string[]> => {
    const { extraction, training } = await planOf(file, ...flags);
    return [extraction.imagesPerSecond.origin, training.millisecondsPerStep.origin];
  };
  expect(await origins()).toEqual(["measured", "measured"]);
  expect(await origins("--learning-rate", "0.1", "--seed", "5")).toEqual(["measured", "measured"]);
  expect(await origins("--batch", "32")).toEqual(["measured", "assumed"]);
  expect(await origins("--optimizer", "adam")).toEqual(["measured", "assumed"]);
  expect(await origins("--trainers", "2")).toEqual(["measured", "assumed"]);
  expect(await origins("--backbone", "mobilenet_v2_1.0_224")).toEqual(["assumed", "assumed"]);
}, 120_000);
