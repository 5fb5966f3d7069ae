import { canonicalJson } from "../../../domain/canonical-json.js";
import { CodedError, type ErrorCode } from "../../../domain/errors.js";
import { reasonOf } from "../../../domain/job/conditions.js";
import { defaultBackoffLimit, operationOf } from "../../../domain/job/operation.js";
import { isFinal } from "../../../domain/job/transitions.js";
import { workerCounts } from "../../../domain/job/worker-counts.js";
import { type RoleProblem, type WorkerHealth, workerHealth } from "../../../domain/job/worker-health.js";
import { type WorkerRole, workerRoles } from "../../../formats/kubernetes/objects.js";
import { isQueued } from "../../../formats/kubernetes/worker-job.js";
import type { Clock } from "../../../platform/clock/clock.js";
import type { Jobs, KnownJob } from "../jobs.js";
import type { Entry } from "./entry.js";
import type { StatusWriter } from "./status-writer.js";
import type { WorkerPods } from "./worker-pods.js";

/** How long a job waits for workers that cannot run before it fails. */
export interface WorkerWaits {
  readonly unschedulableMs: number;
  readonly imagePullMs: number;
  readonly startMs: number;
}

export interface JobWorkersDeps {
  readonly jobs: Jobs;
  readonly clock: Clock;
  readonly waits: WorkerWaits;
  readonly tell: StatusWriter["tell"];
  /** Has the job looked at again after that time. */
  readonly again: (jobUid: string, afterMs: number) => void;
}

/** Workers that could not be made, in a namespace that is not prepared or whose quota is used up, are tried again after this. */
const MAKE_RETRY_MS = 30_000;

const roles = Object.keys(workerRoles) as readonly WorkerRole[];

/** The workers of GraftJobs: how many each job has, what becomes of their pods, and what that means for the job. */
export class JobWorkers {
  private readonly deps: JobWorkersDeps;
  private readonly pods: WorkerPods;

  constructor(deps: JobWorkersDeps, pods: WorkerPods) {
    this.deps = deps;
    this.pods = pods;
  }

  /** Asks for the workers that the job needs now; what keeps that from being done comes back. */
  async apply({ resource, spare }: Entry, job: KnownJob): Promise<RoleProblem[]> {
    const counts = this.countsOf(job);
    const engines = await this.enginesOf(job);
    const problems: RoleProblem[] = [];
    for (const role of roles) {
      const most = job.record.job[`${role}s`].max;
      spare[role].ask(counts[role], this.deps.clock.monotonic());
      const problem = await this.pods.apply(resource, {
        role,
        engine: role === "extractor" ? engines.extraction : engines.training,
        // What waits in a queue is not counted anew with every task.
        count: counts[role] > 0 && isQueued(resource, role) ? Math.max(1, most) : counts[role],
        suspended: job.pause?.kind === "suspended",
      });
      if (problem !== undefined) problems.push(problem);
    }
    return problems;
  }

  private countsOf(job: KnownJob): Readonly<Record<WorkerRole, number>> {
    const { phase } = job.board.state;
    const { extraction, membership } = job.coordinator?.work ?? {};
    return workerCounts({
      phase,
      suspended: job.pause?.kind === "suspended",
      openTasks: extraction && extraction.tasks - extraction.committed.size,
      wantedTrainers: membership?.wanted,
      ...job.record.job,
    });
  }

  /** Which follow from the network; of a job that has no workers any more it does not matter. */
  private async enginesOf(job: KnownJob): Promise<{ readonly extraction: string; readonly training: string }> {
    if (isFinal(job.board.state.phase)) return { extraction: "", training: "" };
    return this.deps.jobs.deps.enginesOf(job.record.job);
  }

  /** Every pod's end is a fact, told once. */
  async recordEnds({ resource, ended, ends, spare }: Entry, job: KnownJob): Promise<void> {
    for (let pod = ended[0]; pod !== undefined; pod = ended[0]) {
      const { name, uid, role, state } = pod;
      const isSpare = state.end === "interrupted" && spare[role].takes(this.deps.clock.monotonic());
      const { end, message } = isSpare ? ({ end: "done", message: "not needed any more" } as const) : state;
      const timeMs = this.deps.clock.now();
      if ((await ends.record(uid, { formatVersion: 1, timeMs, worker: name, role, end, message })) === "new") {
        const sentence = `${role} ${name}: ${end === "outOfMemory" ? "failed" : end}: ${message}`;
        job.log.append("worker", sentence);
        if (end !== "done")
          await this.deps.tell(
            resource,
            end === "interrupted" ? "Normal" : "Warning",
            end === "interrupted" ? "WorkerInterrupted" : "WorkerFailed",
            sentence,
          );
      }
      ended.shift();
    }
  }

  /** Fails a job whose workers fail too often or cannot run for too long, and notes what there is to say of them. */
  async judge(entry: Entry, job: KnownJob, problems: readonly RoleProblem[]): Promise<void> {
    const { jobs, clock } = this.deps;
    if (isFinal(job.board.state.phase)) return;

    // 1. Failures, of which a job survives some.
    const limit = operationOf(entry.resource.spec).backoffLimit ?? defaultBackoffLimit;
    const failures = await entry.ends.failures();
    const [first, last] = [failures[0], failures.at(-1)];
    if (first !== undefined && last !== undefined && failures.length > limit) {
      const count = failures.length === 1 ? "a worker has failed" : `${String(failures.length)} workers have failed`;
      const others = first === last ? "" : `; the last one, ${last.role} ${last.worker}: ${last.message}`;
      const code = last.end === "outOfMemory" ? "WORKER_OUT_OF_MEMORY" : "BACKOFF_LIMIT_EXCEEDED";
      const advice = code === "WORKER_OUT_OF_MEMORY" ? `; raise ${last.role}s.pod.resources.limits.memory` : "";
      await jobs.fail(
        job,
        new CodedError(
          code,
          `${count}, backoffLimit is ${String(limit)}: the first one, ${first.role} ${first.worker}: ${first.message}${others}${advice}`,
        ),
      );
      return;
    }

    // 2. Pods that do not run, for which a job waits some time.
    const counts = this.countsOf(job);
    const needed = roles.filter((role) => counts[role] > 0);
    const queued = needed.filter((role) => isQueued(entry.resource, role) && ![...entry.pods.values()].some((pod) => pod.role === role));
    const pods = [...entry.pods.values()].flatMap(({ name, role, state }) => (state.kind === "ended" ? [] : [{ name, role, state }]));
    const health = workerHealth(
      needed.filter((role) => !queued.includes(role)),
      pods,
      problems,
    );
    const remarks = [health.idle, health.remark, ...queued.map((role) => `${role}s wait in their queue (Kueue)`)].filter(
      (text) => text !== undefined,
    );
    const workers = {
      ...(health.blocked && { blocked: health.blocked }),
      ...(remarks.length > 0 && { remark: remarks.join("; ") }),
    };
    if (canonicalJson(workers) !== canonicalJson(job.board.current.workers ?? {})) {
      job.board.note({ workers });
      if (health.blocked !== undefined)
        await this.deps.tell(entry.resource, "Warning", reasonOf(health.blocked.code), health.blocked.message);
    }
    if (health.blocked === undefined && health.idle === undefined) return entry.waits.clear();
    // Each thing that is waited for has its own time: a node that came late leaves the image all of its.
    const cause = health.blocked?.code ?? "idle";
    if (cause !== "idle") entry.waits.delete("idle");
    const sinceMs = entry.waits.get(cause) ?? clock.monotonic();
    entry.waits.set(cause, sinceMs);
    const waitMs = this.waitOf(health);
    const leftMs = sinceMs + waitMs - clock.monotonic();
    if (leftMs > 0) return this.deps.again(job.jobId, problems.length > 0 ? Math.min(leftMs, MAKE_RETRY_MS) : leftMs);
    const { code, message } = health.blocked ?? { code: "WORKERS_NOT_STARTED" as const, message: health.idle ?? "" };
    await jobs.fail(job, new CodedError(code, `${message}; the job has waited ${String(Math.round(waitMs / 1000))} s for it`));
  }

  private waitOf({ blocked }: WorkerHealth): number {
    const { unschedulableMs, imagePullMs, startMs } = this.deps.waits;
    const waits: Partial<Record<ErrorCode, number>> = { WORKERS_UNSCHEDULABLE: unschedulableMs, IMAGE_PULL_FAILED: imagePullMs };
    return (blocked && waits[blocked.code]) ?? startMs;
  }
}
