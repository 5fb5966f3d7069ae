import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../cli/free-port.js";
import type { NumericsProfile } from "../domain/features/numerics-profile.js";
import { jobIdFromRequest } from "../domain/job/job-id.js";
import type { JobRecord, ListingRecord } from "../domain/job/records.js";
import { limits } from "../domain/limits.js";
import { resolveJob } from "../domain/job/resolve.js";
import { BackboneStore } from "../platform/backbone-store/backbone-store.js";
import { findOrAddBackbone } from "../platform/backbone-store/bundled.js";
import { systemClock } from "../platform/clock/system.js";
import { JobObjects } from "../platform/job-store/job-store.js";
import { objectJobStore } from "../platform/job-store/object-store.js";
import { openObjectStore } from "../platform/object-store/open-store.js";
import { pinPlan } from "../services/coordinator/plan-job.js";
import { withoutProgram } from "../test/support/go-program.js";
import { startMinio } from "../test/support/minio.js";
import type { LoadOrder, LoadReport } from "./coordinator-load-clients.js";
import type { Figure, Measure } from "./figure.js";
import { root } from "./process.js";

const LOCATION = "s3://graft/store";
const CALL_MS = 50;
const LOAD = {
  workers: 1_000,
  warmUpSeconds: 30,
  seconds: 300,
  taskMs: 20_000,
  heartbeatMs: 5_000,
  taskPictures: 1_024,
  lookupPictures: limits.picturesInGroup,
};

const profile: NumericsProfile = {
  engine: "onnx",
  engineVersion: "bench",
  device: "cpu",
  instructionSet: "bench",
  threads: 1,
  batch: 0,
  decoder: "bench",
};

/** Calls of a thousand extractors, which compute nothing, to a coordinator's process that keeps its books in MinIO. */
export const measureCoordinatorLoad: Measure = async ({ temporary }, say) => {
  const seconds = Number(process.env["GRAFT_BENCH_SECONDS"] ?? LOAD.seconds);
  const workers = Number(process.env["GRAFT_BENCH_WORKERS"] ?? LOAD.workers);
  say(`coordinator-load: ${workers} extractors for ${seconds} s`);
  const { calls, failures, cpuSeconds, peakBytes } = await load(temporary, { ...LOAD, workers, seconds });
  const row = "coordinator-load";
  const all = Object.entries(calls);
  const count = all.reduce((sum, [, times]) => sum + times.length, 0);
  const note = `${workers} connections, ${(count / seconds).toFixed(0)} calls a second, tasks of ${LOAD.taskPictures} pictures; load average ${loadavg()[0]!.toFixed(1)}`;
  return [
    ...[["all calls", all.flatMap(([, times]) => times)] as const, ...all].flatMap(([name, times]): Figure[] => [
      { row, name: `${name}: 99th percentile`, value: quantile(times, 0.99), unit: "ms", wanted: { atMost: CALL_MS }, note },
      { row, name: `${name}: median`, value: quantile(times, 0.5), unit: "ms", note: `${times.length} calls` },
    ]),
    { row, name: "failed workers", value: failures.length, unit: "", wanted: { atMost: 0 }, note: failures[0] ?? "" },
    {
      row,
      name: "CPU of the coordinator",
      value: cpuSeconds / (LOAD.warmUpSeconds + seconds),
      unit: "cores",
      note: `${cpuSeconds.toFixed(1)} s`,
    },
    { row, name: "peak of the coordinator", value: peakBytes / 1024 ** 2, unit: "MiB" },
  ];
};

async function load(
  folder: string,
  { workers, warmUpSeconds, seconds, taskMs, heartbeatMs, taskPictures, lookupPictures }: typeof LOAD,
): Promise<LoadReport & { readonly cpuSeconds: number; readonly peakBytes: number }> {
  const minio = await startMinio({}, undefined);
  if (minio === undefined) throw new Error(withoutProgram("minio"));
  try {
    // 1. A job that is listed and planned, with more tasks than can be done.
    await minio.makeBucket("graft");
    const store = await openObjectStore(LOCATION, minio.access, { clock: systemClock, random: Math.random });
    const spec = { dataset: { source: "s3://graft/pictures/" } };
    const job = resolveJob(spec);
    const stored = await findOrAddBackbone(new BackboneStore(store), job.backbone.name, job.backbone.digest);
    const plan = pinPlan(job, stored, { extraction: profile, training: profile });
    const jobId = jobIdFromRequest("coordinator-load");
    const record: JobRecord = {
      formatVersion: 1,
      requestId: jobId,
      name: "load",
      out: "",
      submittedMs: systemClock.now(),
      job,
      request: { metadata: { name: "load" }, spec },
    };
    const tasks = Math.ceil((2 * workers * (warmUpSeconds + seconds) * 1_000) / taskMs);
    const listing: ListingRecord = {
      formatVersion: 1,
      source: spec.dataset.source,
      pictures: tasks * taskPictures,
      tasks,
      taskPictures,
      digest: "0".repeat(64),
      classes: ["a", "b"],
      counts: [],
      givenSplits: [],
      ignoredCount: 0,
      ignored: [],
    };
    const objects = new JobObjects(store, jobId);
    await objects.putJson("listing/summary.json", listing);
    await objects.putJson("plan.json", plan);
    await objectJobStore(store).create(jobId, record);

    // 2. The coordinator.
    const port = await freePort();
    const config = join(folder, "coordinator.json");
    const resources = join(folder, "coordinator-resources.json");
    const address = `127.0.0.1:${String(port)}`;
    writeFileSync(config, JSON.stringify({ listen: address, store: { location: LOCATION, s3: minio.access } }));
    const flags =
      process.env["GRAFT_BENCH_PROFILE"] === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${process.env["GRAFT_BENCH_PROFILE"]}`];
    const coordinator = spawn(
      process.execPath,
      [
        ...flags,
        "--import",
        new URL("../../bench/peers/resources.mjs", import.meta.url).href,
        join(root, "dist/services/coordinator/main.js"),
        "--config",
        config,
      ],
      { env: { ...process.env, GRAFT_BENCH_RESOURCES: resources }, stdio: ["ignore", "pipe", "inherit"] },
    );
    try {
      await new Promise<void>((resolve, reject) => {
        createInterface({ input: coordinator.stdout }).on("line", (line) => {
          if (line.includes('"msg":"serving"')) resolve();
        });
        coordinator.once("exit", (code) => reject(new Error(`the coordinator ended with ${String(code)}`)));
      });

      // 3. Those who call.
      const order: LoadOrder = {
        address,
        location: LOCATION,
        access: minio.access,
        profile,
        featureSpecDigest: plan.featureSpecDigest,
        workers,
        warmUpSeconds,
        seconds,
        taskMs,
        heartbeatMs,
        taskPictures,
        lookupPictures,
      };
      const clients = fork(new URL("coordinator-load-clients.js", import.meta.url));
      const answered = once(clients, "message");
      clients.send(order);
      const [report] = (await answered) as [LoadReport];
      const ended = once(coordinator, "exit");
      coordinator.kill("SIGTERM");
      await ended;
      return { ...report, ...(JSON.parse(readFileSync(resources, "utf8")) as { cpuSeconds: number; peakBytes: number }) };
    } finally {
      coordinator.kill("SIGKILL");
    }
  } finally {
    await minio.stop();
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}
