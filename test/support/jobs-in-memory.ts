import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { INPUT } from "../../domain/network/network.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { objectJobStore } from "../../platform/job-store/object-store.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import type { LeasedTask } from "../../platform/work-service/work-service.js";
import { Jobs, type JobsDeps } from "../../services/coordinator/jobs.js";
import { WorkRouter } from "../../services/coordinator/work-router.js";
import { ManualClock } from "./virtual-clock.js";

/** Of workers that fit every job of `jobsInMemory`. */
export const profile = { engine: "onnx" } as unknown as NumericsProfile;

/** The jobs of a coordinator over a store in memory, on forty pictures of two classes and a tiny network; the test is its workers. */
export function jobsInMemory(store = memoryObjectStore(), clock = new ManualClock(), change: Partial<JobsDeps> = {}) {
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
      ...change,
    },
    stop.signal,
  );
  const work = new WorkRouter(jobs);
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
  return { store, clock, jobs, work, commit, failures, appended, stop };
}

/** Lets everything go on that needs no time. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
