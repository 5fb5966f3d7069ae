import { CodedError } from "../../domain/errors.js";
import { operationOf } from "../../domain/job/operation.js";
import { isFinal } from "../../domain/job/transitions.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { KnownJob } from "./jobs.js";

/** What the watchers of a job's life work with. */
export interface LifeWatch {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly fail: (job: KnownJob, error: CodedError) => Promise<void>;
  /** The job's time after its end is over. */
  readonly expire: (job: KnownJob) => Promise<void>;
  readonly onFailure: (jobId: string, error: unknown) => void;
}

/** Before a job that could not be deleted is tried to be deleted again. */
const RETRY_MS = 5_000;

/** Fails the job once its `activeDeadlineSeconds` since it began, or was resumed, are over. */
export async function watchDeadline(job: KnownJob, { clock, signal, fail }: LifeWatch): Promise<void> {
  while (!signal.aborted && !job.isRemoved && !isFinal(job.board.state.phase)) {
    const { activeDeadlineSeconds } = operationOf(job.record.request?.spec ?? {});
    if (activeDeadlineSeconds === undefined) {
      await job.specBell.next(clock, undefined, signal);
      continue;
    }
    const { startedMs } = job.board.current;
    const isRunning = startedMs !== undefined && job.pause?.kind !== "suspended";
    const leftMs = isRunning ? startedMs + activeDeadlineSeconds * 1000 - clock.now() : limits.longPollMs;
    if (leftMs > 0) await job.bell.next(clock, Math.min(leftMs, limits.longPollMs), signal);
    else {
      const message = `job ${job.record.name} was not done within its activeDeadlineSeconds, ${String(activeDeadlineSeconds)}; submit it anew with a longer one, features that were extracted are used again`;
      await fail(job, new CodedError("DEADLINE_EXCEEDED", message));
      return;
    }
  }
}

/** Deletes the job once its `ttlSecondsAfterFinished` are over. */
export async function watchExpiry(job: KnownJob, { clock, signal, expire, onFailure }: LifeWatch): Promise<void> {
  while (!signal.aborted && !job.isRemoved) {
    const { ttlSecondsAfterFinished } = operationOf(job.record.request?.spec ?? {});
    if (ttlSecondsAfterFinished === undefined) {
      if (isFinal(job.board.state.phase)) return;
      await job.specBell.next(clock, undefined, signal);
      continue;
    }
    const { endedMs } = job.board.current;
    const isOver = isFinal(job.board.state.phase) && endedMs !== undefined;
    const leftMs = isOver ? endedMs + ttlSecondsAfterFinished * 1000 - clock.now() : limits.longPollMs;
    if (leftMs > 0) {
      await job.bell.next(clock, Math.min(leftMs, limits.longPollMs), signal);
      continue;
    }
    try {
      return await expire(job);
    } catch (error) {
      onFailure(job.jobId, error);
      await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }
}
