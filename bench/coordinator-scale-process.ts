import { createHash } from "node:crypto";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { NumericsProfile } from "../domain/features/numerics-profile.js";
import { IMAGE_ID_BYTES } from "../domain/features/image-ids.js";
import { planTasks } from "../domain/features/plan-tasks.js";
import { resolveJob } from "../domain/job/resolve.js";
import { encodeListing, type ListingRow } from "../formats/listing/listing.js";
import { BackboneStore } from "../platform/backbone-store/backbone-store.js";
import { findOrAddBackbone } from "../platform/backbone-store/bundled.js";
import { systemClock } from "../platform/clock/system.js";
import type { DatasetSource } from "../platform/dataset-source/dataset-source.js";
import type { JobFeatures } from "../platform/job-features/job-features.js";
import { objectJobStore } from "../platform/job-store/object-store.js";
import { memoryObjectStore } from "../platform/object-store/memory.js";
import type { ObjectStore } from "../platform/object-store/object-store.js";
import { JobCoordinator } from "../services/coordinator/coordinator.js";

/**
 * A coordinator with one job on a generated listing of so many pictures: `node coordinator-scale-process.js PICTURES`. Prints for each phase how long it took and how long the event loop
 * was blocked at worst. Listing parts and commits are made when they are read; what is written of them is thrown away.
 */
const PICTURES = Number(process.argv[2]);
const CLASSES = 1_000;
const JOB = "scale";
/** A moment that is looked at: short beside the 50 ms that are at stake. */
const TICK_MS = 5;

export interface ScalePhase {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** As `monitorEventLoopDelay` sees it: what other processes took of the core counts too. */
  readonly worstDelayMs: number;
  /** The most CPU time that this process, all its threads together, took between two turns: no more than this is its own doing. */
  readonly worstBusyMs: number;
  /** Of the process so far. */
  readonly peakBytes: number;
}
export interface ScaleReport {
  readonly phases: Readonly<Record<string, ScalePhase>>;
  readonly samplesDigest: string;
}

const profile: NumericsProfile = {
  engine: "onnx",
  engineVersion: "bench",
  device: "cpu",
  instructionSet: "bench",
  threads: 1,
  batch: 0,
  decoder: "bench",
};

function rowAt(index: number): ListingRow {
  const label = `class ${String(Math.floor((index * CLASSES) / PICTURES)).padStart(4, "0")}`;
  return {
    uri: `${label}/picture ${String(index).padStart(8, "0")}.jpg`,
    bytes: 50_000 + (index % 1_000),
    state: `50000-${String(index)}`,
    label,
  };
}

const source: DatasetSource = {
  location: "/generated",
  async *list() {
    for (let index = 0; index < PICTURES; index++) {
      const { uri: path, bytes, state } = rowAt(index);
      yield { path, bytes, state };
    }
  },
  read: () => Promise.reject(new Error("a coordinator reads no picture")),
};

function generatedStore(): ObjectStore {
  const store = memoryObjectStore();
  const { tasks, taskPictures } = planTasks(PICTURES);
  let turn = Promise.resolve();
  const isGenerated = (key: string): boolean => /\/(listing|samples)\/\d+\.arrow$/.test(key);
  const rowsOf = (task: number): number => Math.min(taskPictures, PICTURES - task * taskPictures);
  return {
    ...store,
    put: async (key, body) => (isGenerated(key) ? undefined : store.put(key, body)),
    async read(key) {
      // What is made here takes time that a store's answer does not take: each in a turn of its own.
      await (turn = turn.then(() => systemClock.sleep(0)));
      const task = Number(/\/(\d+)\.(?:arrow|json)$/.exec(key)?.[1]);
      if (key.includes("/listing/") && !Number.isNaN(task))
        return encodeListing(Array.from({ length: rowsOf(task) }, (_, row) => rowAt(task * taskPictures + row)));
      if (!key.includes("/commits/")) return store.read(key);
      const ids = Buffer.alloc(rowsOf(task) * IMAGE_ID_BYTES);
      for (let row = 0; row < rowsOf(task); row++)
        createHash("sha256")
          .update(String(task * taskPictures + row))
          .digest()
          .copy(ids, row * IMAGE_ID_BYTES);
      const commit = {
        formatVersion: 1,
        task,
        worker: `w${String(task % 100)}`,
        rejected: [],
        extracted: rowsOf(task),
        cached: 0,
        shards: [],
      };
      return Buffer.from(JSON.stringify({ ...commit, imageIds: ids.toString("base64") }));
    },
    async *list(prefix) {
      if (!prefix.endsWith("/commits/")) yield* store.list(prefix);
      else for (let task = 0; task < tasks; task++) yield `${prefix}${String(task)}.json`;
    },
  };
}

const delays = monitorEventLoopDelay({ resolution: TICK_MS });
let busyMs = 0;
let before = { wallMs: performance.now(), cpu: process.cpuUsage() };
setInterval(() => {
  const now = { wallMs: performance.now(), cpu: process.cpuUsage() };
  const cpuMs = (now.cpu.user + now.cpu.system - before.cpu.user - before.cpu.system) / 1_000;
  busyMs = Math.max(busyMs, Math.min(now.wallMs - before.wallMs, cpuMs) - TICK_MS);
  before = now;
}, TICK_MS);

const phases: Record<string, ScalePhase> = {};
let begun = { ms: performance.now(), cpu: process.cpuUsage() };
const begin = (): void => {
  begun = { ms: performance.now(), cpu: process.cpuUsage() };
  busyMs = 0;
  delays.reset();
};
const end = (phase: string): void => {
  const { user, system } = process.cpuUsage(begun.cpu);
  phases[phase] = {
    seconds: (performance.now() - begun.ms) / 1_000,
    cpuSeconds: (user + system) / 1e6,
    worstDelayMs: delays.max / 1e6 - TICK_MS,
    worstBusyMs: busyMs,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
  begin();
};

const store = generatedStore();
const jobs = objectJobStore(store);
const backbones = new BackboneStore(store);
// Features small enough that those of all pictures fit in one trainer, else the job is refused.
const job = resolveJob({
  dataset: { source: "/generated" },
  backbone: { name: "mobilenet_v2_0.35_224" },
  cut: "block_15_add",
  preprocessing: { size: 32 },
});
await findOrAddBackbone(backbones, job.backbone.name, job.backbone.digest);
await jobs.create(JOB, { formatVersion: 1, requestId: JOB, name: JOB, out: "", submittedMs: 0, job });
const stop = new AbortController();
const features = { refresh: async () => undefined, append: async () => undefined, has: () => true, problems: [] } as unknown as JobFeatures;
const coordinator = new JobCoordinator(JOB, {
  store,
  jobs,
  backbones,
  openDataset: async () => ({ source, manifest: undefined }),
  openFeatures: async () => features,
  profiles: async () => ({ extraction: profile, training: { ...profile, engine: "tensorflow" } }),
  readWeights: () => Promise.reject(new Error("no weights are given")),
  clock: systemClock,
  workersOutlive: true,
  memoryBytes: 2 ** 46,
  newKey: () => new Uint8Array(32),
  announce: () => undefined,
  milestone: (milestone) => {
    if (milestone === "after scan") end("scan");
    if (milestone === "after plan") end("plan");
    if (milestone === "after samples") {
      end("samples");
      stop.abort(new Error("measured"));
    }
  },
});
delays.enable();
before = { wallMs: performance.now(), cpu: process.cpuUsage() };
begin();
await coordinator.run(stop.signal).catch((error: unknown) => {
  if (!stop.signal.aborted) throw error;
});
const summary = (await store.read(`jobs/${JOB}/samples/summary.json`)) ?? new Uint8Array(0);
const { digest } = JSON.parse(Buffer.from(summary).toString("utf8")) as { digest: string };
console.log(JSON.stringify({ phases, samplesDigest: digest } satisfies ScaleReport));
process.exit(0);
