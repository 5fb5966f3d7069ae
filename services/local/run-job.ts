import { createHash } from "node:crypto";
import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import type { JobEvent } from "../../domain/job/events.js";
import { jobIdFromRequest } from "../../domain/job/job-id.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { JobRecord, Milestone } from "../../domain/job/records.js";
import { isFinal, phases, type Phase } from "../../domain/job/transitions.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { acquireJobLock } from "../../platform/job-store/lock.js";
import { systemProcesses } from "../../platform/job-store/processes.js";
import type { StepReport } from "../../platform/work-service/work-service.js";
import { JobCoordinator } from "../coordinator/coordinator.js";
import { runExtractor } from "../extractor/extractor.js";
import { runTrainer } from "../trainer/trainer.js";
import { coordinatorDeps, enginesOf, extractorDeps, trainerDeps, type Local } from "./local.js";

export interface LocalRequest {
  readonly job: ResolvedJob;
  readonly name: string;
  /** Where the user wants the result, as written by the user. */
  readonly out: string;
  readonly announce: (event: JobEvent) => void;
  readonly signal: AbortSignal;
  /** For tests that end the process at a point of its life. */
  readonly milestone?: (milestone: Milestone) => void;
}

export interface LocalOutcome {
  readonly job: JobObjects;
  /** The last report of each trainer. */
  readonly trainers: ReadonlyMap<string, StepReport>;
}

/**
 * Runs a job with coordinator, extractors and trainers in this process. The same request goes on where an interrupted run of it stopped; after one that ended, or beside one
 * that another process is running, it is a run of its own on the same features.
 * @throws CodedError INTERRUPTED when the signal aborts, saying what is kept; whatever makes the job fail
 */
export async function runLocalJob(local: Local, request: LocalRequest): Promise<LocalOutcome> {
  for (let attempt = 0; ; attempt++) {
    const jobId = jobIdFromRequest(`local/${requestDigest(request.job)}/${String(attempt)}`);
    const outcome = await runAttempt(local, jobId, request);
    if (outcome !== "taken") return outcome;
  }
}

/** What makes two requests the same: all that shapes the result, and where the pictures are. How many workers there are does not. A job of one cache domain never goes on with the features of another. */
function requestDigest({ extractors: _extractors, trainers: _trainers, cacheDomain, ...job }: ResolvedJob): string {
  // Without a domain as before there were any, so that what an older graft began is gone on with.
  return createHash("sha256")
    .update(canonicalJson(cacheDomain === "" ? job : { ...job, cacheDomain }))
    .digest("hex");
}

/** "taken": this attempt has ended, another process is at it, or its dataset has changed. */
async function runAttempt(local: Local, jobId: string, request: LocalRequest): Promise<LocalOutcome | "taken"> {
  const { job, name, out, announce } = request;
  const before = await phaseOf(local, jobId);
  if (before !== undefined && isFinal(before)) return "taken";
  const record: JobRecord = { formatVersion: 1, requestId: jobId, name, out, submittedMs: local.clock.now(), job };
  const created = await local.jobs.create(jobId, record);
  const lock = await acquireJobLock(local.store, jobId, systemProcesses);
  if (lock.kind === "held") return "taken";
  try {
    // Between the look above and the lock another process may have ended it.
    const now = await phaseOf(local, jobId);
    if (now !== undefined && isFinal(now)) return "taken";
    if (now !== undefined) announce({ kind: "warning", message: `going on with job ${jobId}, which was interrupted` });
    return await runWorkers(local, jobId, request);
  } catch (error) {
    if (error instanceof CodedError && error.code === "DATASET_CHANGED" && created === "exists") {
      announce({ kind: "warning", message: `${error.message}; starting a new one now` });
      return "taken";
    }
    throw error;
  } finally {
    await lock.release().catch(() => undefined); // a dead process' lock binds nobody
  }
}

async function runWorkers(
  local: Local,
  jobId: string,
  { job, announce, signal, milestone = () => undefined }: LocalRequest,
): Promise<LocalOutcome> {
  // One signal ends everything: the user's, or the failure of whoever fails first.
  const stop = new AbortController();
  const interrupt = (): void => stop.abort(new CodedError("INTERRUPTED", "interrupted"));
  if (signal.aborted) interrupt();
  signal.addEventListener("abort", interrupt, { once: true });
  const stopWith = (error: unknown): void => stop.abort(error);

  // More would only share the cores of this machine (domain/job/choose-trainers.ts).
  const trainers = Math.max(1, job.trainers.min);
  const engines = await enginesOf(local, job);
  const coordinator = new JobCoordinator(jobId, coordinatorDeps(local, engines, job.trainers, announce, milestone));
  const extracting = extractorDeps(local, engines, coordinator, milestone);
  const training = trainerDeps(local, engines, coordinator, milestone);
  const all = [
    coordinator.run(stop.signal),
    ...names("extractor", Math.max(1, job.extractors.max)).map((worker) => runExtractor(worker, extracting, stop.signal)),
    ...names("trainer", trainers).map((trainer) => runTrainer(trainer, jobId, training, stop.signal)),
  ];
  for (const each of all) each.catch(stopWith);
  const [run] = await Promise.allSettled(all);
  signal.removeEventListener("abort", interrupt);
  if (run?.status === "rejected") throw signal.aborted ? await interrupted(local, jobId) : (stop.signal.reason as Error);
  return { job: new JobObjects(local.store, jobId), trainers: coordinator.steps };
}

async function interrupted(local: Local, jobId: string): Promise<CodedError> {
  const step = (await new JobObjects(local.store, jobId).checkpointSteps()).at(-1);
  const kept = step === undefined ? "the features extracted so far" : `all features and the training up to step ${String(step)}`;
  return new CodedError(
    "INTERRUPTED",
    `interrupted; kept in ${local.store.location}: ${kept}. Run the same command again to go on (job ${jobId})`,
  );
}

function names(role: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${role}-${String(index)}`);
}

/** Undefined for a job that has not begun. A damaged status is none: it is only a projection of the job's facts. */
async function phaseOf(local: Local, jobId: string): Promise<Phase | undefined> {
  try {
    return await local.jobs.readStatus(jobId, readPhase);
  } catch (error) {
    if (error instanceof CodedError && error.code === "OBJECT_CORRUPT") return undefined;
    throw error;
  }
}

function readPhase(value: unknown): Phase {
  const { phase } = (value ?? {}) as { readonly phase?: unknown };
  const known = phases.find((each) => each === phase);
  if (known === undefined) throw new Error(`phase should be one of ${phases.join(", ")}, found ${JSON.stringify(phase)}`);
  return known;
}
