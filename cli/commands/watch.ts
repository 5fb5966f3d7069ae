import { CodedError, errorCodes, type ErrorCode } from "../../domain/errors.js";
import type { JobEvent } from "../../domain/job/events.js";
import { hindranceOf, type JobResource } from "../../domain/job/resource.js";
import { phases } from "../../domain/job/transitions.js";
import type { JobReference, JobService } from "../../platform/job-service/job-service.js";
import { interruptSignal } from "../interrupt.js";
import { openProgress } from "../progress.js";
import { nextCommand } from "../program-name.js";
import { jobReference, withServer } from "../server.js";
import type { ServerFlags } from "../server-flags.js";

/** `graft watch NAME`: live progress until the job ends. */
export async function watch(name: string, flags: ServerFlags): Promise<void> {
  const interrupt = interruptSignal(() => new CodedError("INTERRUPTED", "no longer watching; the job goes on"));
  try {
    await withServer(flags, (server, namespace) => watchToTheEnd(server, jobReference(name, namespace), flags, interrupt.signal));
  } finally {
    interrupt.release();
  }
}

export interface WatchFlags extends ServerFlags {
  /** Only waits. */
  readonly silent?: boolean;
}

/** Shows a job's progress as `graft train` does, and returns its last state. @throws CodedError what made the job fail */
export async function watchToTheEnd(server: JobService, job: JobReference, flags: WatchFlags, signal: AbortSignal): Promise<JobResource> {
  const { name } = job;
  const progress = flags.silent === true ? { announce: () => undefined, close: () => undefined } : openProgress(false);
  let before: JobResource | undefined;
  try {
    for await (const now of server.watchJob(job, undefined, signal)) {
      if (flags.json === true && flags.silent !== true) process.stdout.write(`${JSON.stringify(now)}\n`);
      else for (const event of eventsBetween(before, now, flags)) progress.announce(event);
      before = now;
    }
  } finally {
    progress.close();
  }
  signal.throwIfAborted();
  const failure = before?.status.failure;
  if (before?.status.phase === "CANCELLED") throw new CodedError("INTERRUPTED", `job ${name} was cancelled`);
  if (before === undefined) throw new CodedError("SERVER_UNAVAILABLE", `the server says nothing about job ${name}; try again`);
  if (before.status.phase !== "FAILED") return before;
  const code = failure !== undefined && failure.code in errorCodes ? (failure.code as ErrorCode) : undefined;
  if (code !== undefined) throw new CodedError(code, failure?.message ?? "");
  throw new Error(failure?.message ?? `job ${name} failed`);
}

/** What has happened between two states of a job, as a run in one process would have announced it. */
export function eventsBetween(before: JobResource | undefined, now: JobResource, flags: { readonly namespace?: string } = {}): JobEvent[] {
  const events: JobEvent[] = [];
  const { phase, suspended, progress = {}, evaluation, result, failure } = now.status;
  const earlier = before?.status;
  const name = phases.find((each) => each.toUpperCase() === phase) ?? "Pending";
  if (earlier?.phase !== phase) events.push({ kind: "phase", phase: name });
  if (suspended && earlier?.suspended !== true)
    events.push({ kind: "warning", message: `suspended in ${name}; ${nextCommand("resume", now.metadata.name ?? "NAME", flags)} goes on` });
  const hindrance = hindranceOf(now);
  const earlierHindrance = before && hindranceOf(before);
  if (hindrance !== undefined && hindrance.message !== earlierHindrance?.message && hindrance.message !== failure?.message)
    events.push({ kind: "warning", message: `${hindrance.message} [${hindrance.reason}]` });
  if (phase === "SCANNING" && progress.pictures !== undefined) events.push({ kind: "scan", pictures: progress.pictures });
  if (progress.pictures !== undefined && progress.extracted !== undefined && progress.extracted !== earlier?.progress?.extracted)
    events.push({
      kind: "extraction",
      done: progress.extracted,
      total: progress.pictures,
      cached: progress.cached ?? 0,
      rejected: progress.rejected ?? 0,
      imagesPerSecond: progress.imagesPerSecond ?? 0,
    });
  if (progress.step !== undefined && progress.steps !== undefined && progress.step !== earlier?.progress?.step)
    events.push({ kind: "step", step: progress.step, steps: progress.steps, millisecondsPerStep: progress.millisecondsPerStep ?? 0 });
  if (evaluation !== undefined && evaluation.step !== earlier?.evaluation?.step)
    events.push({
      kind: "evaluation",
      step: evaluation.step,
      epoch: evaluation.epoch,
      crossEntropy: evaluation.trainLoss ?? null,
      trainAccuracy: evaluation.trainAccuracy ?? null,
      validationLoss: evaluation.validationLoss ?? null,
      validationAccuracy: evaluation.validationAccuracy ?? null,
      validationCount: evaluation.validationCount ?? 0,
      seconds: secondsSince(now.status.startTime, undefined),
    });
  if (failure !== undefined && phase !== "FAILED" && failure.message !== earlier?.failure?.message)
    events.push({ kind: "warning", message: `${failure.message} [${failure.code}]` });
  if (phase === "COMPLETE" && result !== undefined && earlier?.phase !== "COMPLETE")
    events.push({
      kind: "complete",
      testAccuracy: result.testAccuracy ?? null,
      testCount: result.testCount ?? 0,
      weightsSha256: result.weightsSha256,
      location: result.location,
      seconds: secondsSince(now.status.startTime, now.status.completionTime),
    });
  return events;
}

function secondsSince(start: string | undefined, end: string | undefined): number {
  return start === undefined ? 0 : Math.max(0, ((end === undefined ? Date.now() : Date.parse(end)) - Date.parse(start)) / 1000);
}
