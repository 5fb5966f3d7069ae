import { CodedError } from "../../domain/errors.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { JobRecord, Milestone, PlanRecord } from "../../domain/job/records.js";
import { viewsNeeded } from "../../domain/features/needed-views.js";
import { limits } from "../../domain/limits.js";
import { INPUT } from "../../domain/network/network.js";
import { jobRecord, listingRecord, planRecord } from "../../formats/job-records/job-records.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import type { Engine, Forward } from "../../platform/engine/engine.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { IdentityStore } from "../../platform/identity-store/identity-store.js";
import type { ImageDecoder } from "../../platform/image-decoder/image-decoder.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { LeasedTask, TaskClaim, TaskProgress, WorkService } from "../../platform/work-service/work-service.js";
import { extractTask, type ExtractionContext } from "./extract-task.js";
import { RecalledIdentities } from "./identities.js";
import type { Lookup } from "./kept-features.js";
import type { Outcomes } from "./prepare-picture.js";
import type { Slots } from "./slots.js";

export interface ExtractorDeps {
  readonly work: WorkService;
  readonly store: ObjectStore;
  readonly backbones: BackboneStore;
  readonly openDataset: (source: string) => Promise<OpenedDataset>;
  readonly openFeatures: (plan: PlanRecord) => Promise<JobFeatures>;
  readonly clock: Clock;
  readonly identitiesOf: (plan: PlanRecord) => IdentityStore;
  readonly decoder: ImageDecoder;
  /** Of pictures that are decoded at the same time, by all extractors of a process: few enough that one which is to stop has not many left to finish. */
  readonly decodeSlots: Slots;
  readonly engine: () => Promise<Engine>;
  /** Between two heartbeats of a task; default 0, for a coordinator in the same process, whose progress is seen by a person. */
  readonly heartbeatMs?: number;
  /** Only tasks of this job; default: of any. */
  readonly jobId?: string | undefined;
  readonly milestone: (milestone: Milestone) => void;
  /** A task is this worker's. */
  readonly onClaim?: (task: LeasedTask) => void;
  /** A task was committed or handed back. */
  readonly onTask?: (task: LeasedTask, outcome: { readonly kind: "committed" | "handed back"; readonly progress: TaskProgress }) => void;
  /** A task failed and was handed back; this worker ends with the error. */
  readonly onTaskFailure?: (task: LeasedTask, error: unknown) => Promise<void>;
}

/**
 * The life of an extractor: claims one task after another until none will come. The next task is begun when the last pictures of one are on their way, so that no core waits
 * while those are finished, written and committed. When the signal aborts it hands back what it has and ends.
 */
export async function runExtractor(worker: string, deps: ExtractorDeps, signal: AbortSignal): Promise<void> {
  const { work } = deps;
  const profile = { ...(await deps.engine()).forwardProfile, decoder: deps.decoder.version };
  const jobs = new Map<string, JobOfExtractor>();
  const failure = new AbortController();
  const stopped = AbortSignal.any([signal, failure.signal]);
  let before: TaskUnderWay | undefined;
  let current: TaskUnderWay | undefined;
  try {
    while (!signal.aborted) {
      // Nothing may be left to claim for a long time: a task that fails meanwhile ends the wait.
      const claim = await Promise.race([work.claimTask(worker, profile, deps.jobId), ...(before === undefined ? [] : [before.failed])]);
      if (claim.kind === "done") break;
      if (claim.kind === "ask again") continue;
      deps.onClaim?.(claim);
      deps.milestone("after claim");
      const job = jobs.get(claim.jobId) ?? (await openJob(claim.jobId, deps));
      jobs.set(claim.jobId, job);

      current = beginTask(worker, claim, job, before, deps, stopped);
      await before?.done; // two at a time
      await current.allBegun;
      before = current;
    }
    await before?.done;
  } catch (error) {
    failure.abort(error);
    throw error;
  } finally {
    await Promise.allSettled([before?.done, current?.done]);
    for (const { release } of jobs.values()) await release();
  }
}

type ClaimedTask = Extract<TaskClaim, { readonly kind: "task" }>;

interface TaskUnderWay {
  readonly jobId: string;
  readonly outcomes: Outcomes;
  /** Resolves when every picture is begun, or nothing more will be. */
  readonly allBegun: Promise<void>;
  /** Resolves when the task is committed or handed back. */
  readonly done: Promise<void>;
  /** Rejects if `done` does. */
  readonly failed: Promise<never>;
}

function beginTask(
  worker: string,
  claimed: ClaimedTask,
  job: JobOfExtractor,
  before: TaskUnderWay | undefined,
  { work, clock, heartbeatMs = 0, onTask, onTaskFailure }: ExtractorDeps,
  signal: AbortSignal,
): TaskUnderWay {
  const { jobId, task } = claimed;
  const outcomes: Outcomes = new Map();
  let allBegun = (): void => undefined;
  const begun = new Promise<void>((resolve) => (allBegun = resolve));
  const run = async (): Promise<void> => {
    let latest: TaskProgress = { extracted: 0, cached: 0, rejected: 0 };
    let answer: "kept" | "lost" = "kept";
    let failed: { readonly error: unknown } | undefined;
    let asking: Promise<void> | undefined;
    let askedMs = -Infinity;
    const renew = async (): Promise<void> => {
      askedMs = clock.monotonic();
      try {
        answer = await work.heartbeatTask(claimed, latest);
      } catch (error) {
        // While the coordinator is away the work goes on: its commit will wait, and the first one wins in any case.
        if (!(error instanceof CodedError && error.code === "SERVER_UNAVAILABLE")) failed = { error };
      }
    };
    const ask = (): Promise<void> => (asking ??= renew().finally(() => (asking = undefined)));
    // The engine does not wait for the answer: it is the one to the heartbeat before that counts.
    const progress = async (progress: TaskProgress): Promise<"kept" | "lost"> => {
      latest = progress;
      if (clock.monotonic() - askedMs >= heartbeatMs) void ask();
      await Promise.resolve();
      if (failed !== undefined) throw failed.error;
      return answer;
    };
    const extract = async (): Promise<void> => {
      const pictures = await job.objects.readListing(task);
      const outcomesBefore = before?.jobId === jobId ? before.outcomes : undefined;
      const lookup: Lookup = (imageIds, view) => work.lookupFeatures(claimed, imageIds, view);
      const outcome = await extractTask({ pictures, outcomes, outcomesBefore, lookup, progress, allBegun }, job.context, signal);
      if (outcome.kind === "extracted") {
        const isTaken = await work.commitTask(claimed, { formatVersion: 1, task, worker, ...outcome.commit }).then(
          () => true,
          (error: unknown) => {
            // The job has ended or stands still; this worker goes on with other tasks.
            if (error instanceof CodedError && error.code === "LEASE_LOST") return false;
            throw error;
          },
        );
        onTask?.(claimed, { kind: isTaken ? "committed" : "handed back", progress: latest });
        return;
      }
      await work.releaseTask(claimed, outcome.shards);
      onTask?.(claimed, { kind: "handed back", progress: latest });
      if (!("failure" in outcome)) return;
      await onTaskFailure?.(claimed, outcome.failure);
      throw outcome.failure;
    };
    // Pictures may take long, and a task waits for the one before it: the lease is renewed by time too.
    const over = new AbortController();
    void renewLease(claimed.leaseMs, clock, over.signal, ask);
    await extract().finally(() => over.abort());
  };
  const done = run().finally(allBegun);
  const failed = new Promise<never>((_resolve, reject) => {
    done.catch(reject);
  });
  failed.catch(() => undefined); // `done` is awaited in any case
  return { jobId, outcomes, allBegun: begun, done, failed };
}

/** Until the signal. */
async function renewLease(leaseMs: number, clock: Clock, over: AbortSignal, renew: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await clock.sleep(leaseMs / 3, over);
    } catch {
      return;
    }
    await renew().catch(() => undefined); // the next heartbeat of the task itself meets the same failure
  }
}

interface JobOfExtractor {
  readonly objects: JobObjects;
  readonly context: ExtractionContext;
  readonly release: () => Promise<void>;
}

async function openJob(jobId: string, deps: ExtractorDeps): Promise<JobOfExtractor> {
  const objects = new JobObjects(deps.store, jobId);
  const [record, plan, listing] = await Promise.all([
    objects.readJson("spec.json", jobRecord),
    objects.readJson("plan.json", planRecord),
    objects.readJson("listing/summary.json", listingRecord),
  ]);
  if (record === undefined || plan === undefined || listing === undefined)
    throw new CodedError("OBJECT_MISSING", `${objects.keyOf("")}: spec.json, plan.json or listing/summary.json is gone; run the job anew`);
  const { dataset, views } = record.job;
  const { source } = await deps.openDataset(dataset.source);
  let forward: Promise<Forward> | undefined;
  return {
    objects,
    context: {
      source,
      features: await deps.openFeatures(plan),
      featureShape: plan.featureShape,
      preprocessing: plan.featureSpec.preprocessing,
      augmentation: views.augmentation,
      views: plan.views,
      viewsOf: ({ givenSplit }, imageId) => viewsNeeded(plan.views, imageId, givenSplit, listing.givenSplits, dataset.split),
      identities: new RecalledIdentities(deps.identitiesOf(plan), source.location, deps.decoder.version),
      decoder: deps.decoder,
      decodeSlots: deps.decodeSlots,
      forward: plan.cut === INPUT ? undefined : () => (forward ??= compile(record, plan, deps)),
      milestone: deps.milestone,
    },
    release: async () => {
      await (await forward)?.release();
    },
  };
}

async function compile(record: JobRecord, plan: PlanRecord, { backbones, engine }: ExtractorDeps): Promise<Forward> {
  const { backbone } = await backbones.find(plan.backbone.name, plan.backbone.digest);
  const { prefix, preprocessing } = cutBackbone(record.job, backbone);
  return (await engine()).compileForward(prefix, backbone.weights, { batch: limits.forwardBatch, preprocessing });
}
