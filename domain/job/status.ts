import { conditionsOf } from "./conditions.js";
import { count, duration } from "./figures.js";
import type { JobEvaluation, JobResourceStatus, JobResultSummary, ResourcePhase } from "./resource.js";
import { isFinal, type JobState } from "./transitions.js";

/** `status.json`: where a job is, why, and what is missing. A projection of its facts; losing it loses nothing. */
export interface JobStatus extends JobState {
  readonly formatVersion: 1;
  readonly startedMs?: number;
  readonly endedMs?: number;
  readonly pictures?: number;
  /** Tasks of the listing and of repairs, and how many of them have a commit. */
  readonly tasks?: number;
  readonly tasksCommitted?: number;
  /** Pictures whose features are known, those of them that were kept, and those that are no pictures. */
  readonly extracted?: number;
  readonly cached?: number;
  readonly rejected?: number;
  readonly imagesPerSecond?: number;
  /** Extractors that hold a task. */
  readonly extractors?: number;
  /** Pictures whose features were damaged and are extracted again. */
  readonly picturesLost?: number;
  readonly trainers?: number;
  /** Why so many. */
  readonly trainersReason?: string;
  readonly generation?: number;
  readonly step?: number;
  readonly steps?: number;
  readonly millisecondsPerStep?: number;
  readonly evaluation?: JobEvaluation;
  /** The step that a restart goes on from; 0 before the first checkpoint and once the result stands. */
  readonly checkpointStep?: number;
  readonly result?: JobResultSummary;
  /** On Kubernetes: what keeps all workers of a role that is needed from running, or what else there is to say of the workers. */
  readonly workers?: { readonly blocked?: { readonly code: string; readonly message: string }; readonly remark?: string };
  /** Why the job stands still, or has failed; null while all is well. */
  readonly failure: { readonly code: string; readonly message: string } | null;
}

export const pendingStatus: JobStatus = { formatVersion: 1, phase: "Pending", suspended: false, failure: null };

/** What programs and kubectl see of it. */
export function resourceStatus(status: JobStatus): JobResourceStatus {
  const { phase, suspended, failure, startedMs, endedMs, evaluation, result } = status;
  const left = secondsLeft(status);
  return {
    phase: phase.toUpperCase() as ResourcePhase,
    suspended,
    conditions: conditionsOf(status),
    progress: present({
      pictures: status.pictures,
      extracted: status.extracted,
      cached: status.cached,
      rejected: status.rejected,
      imagesPerSecond: status.imagesPerSecond,
      step: status.step,
      steps: status.steps,
      millisecondsPerStep: status.millisecondsPerStep,
      secondsLeft: left,
      trainers: status.trainers,
      trainersReason: status.trainersReason,
      generation: status.generation,
      tasks: status.tasks,
      tasksCommitted: status.tasksCommitted,
      extractors: status.extractors,
      checkpointStep: status.checkpointStep,
      summary: summaryOf(status),
      eta: left === undefined || suspended ? undefined : duration(left),
    }),
    ...(evaluation && { evaluation }),
    ...(failure && { failure }),
    ...(result && { result }),
    ...(startedMs !== undefined && { startTime: new Date(startedMs).toISOString() }),
    ...(endedMs !== undefined && { completionTime: new Date(endedMs).toISOString() }),
  };
}

/** To the end of extraction or of the steps, as the last rate has it. */
function secondsLeft({ phase, pictures, extracted, imagesPerSecond, step, steps, millisecondsPerStep }: JobStatus): number | undefined {
  if (phase === "Extracting" && pictures !== undefined && imagesPerSecond !== undefined && imagesPerSecond > 0)
    return Math.ceil(Math.max(0, pictures - (extracted ?? 0)) / imagesPerSecond);
  if (phase === "Training" && steps !== undefined && millisecondsPerStep !== undefined)
    return Math.ceil(((steps - (step ?? 0)) * millisecondsPerStep) / 1000);
  return undefined;
}

/** What of this phase is done, for people. */
function summaryOf({ phase, suspended, pictures, extracted, step, steps }: JobStatus): string | undefined {
  if (suspended || isFinal(phase)) return undefined;
  if (phase === "Scanning" && pictures !== undefined) return `${count(pictures)} pictures`;
  if (phase === "Extracting" && pictures !== undefined) return `${count(extracted ?? 0)}/${count(pictures)} pictures`;
  if (phase === "Training" && steps !== undefined) return `step ${count(step ?? 0)}/${count(steps)}`;
  return undefined;
}

/** Without the fields that are undefined. */
function present<T extends object>(fields: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]: Exclude<T[Key], undefined>;
  };
}
