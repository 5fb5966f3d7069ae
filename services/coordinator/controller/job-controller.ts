import { canonicalJson } from "../../../domain/canonical-json.js";
import { CodedError, endsJob, type ErrorCode, errorCodes } from "../../../domain/errors.js";
import { mergeConditions, reasonOf } from "../../../domain/job/conditions.js";
import type { ResolvedJob } from "../../../domain/job/job.js";
import { defaultBackoffLimit, operationOf } from "../../../domain/job/operation.js";
import type { JobRecord } from "../../../domain/job/records.js";
import type { JobResourceStatus } from "../../../domain/job/resource.js";
import { type JobStatus, pendingStatus, resourceStatus } from "../../../domain/job/status.js";
import { isFinal, nextState } from "../../../domain/job/transitions.js";
import { workerCounts } from "../../../domain/job/worker-counts.js";
import { type RoleProblem, type WorkerHealth, workerHealth } from "../../../domain/job/worker-health.js";
import { jobRecord, jobStatus } from "../../../formats/job-records/job-records.js";
import { FINALIZER, type GraftJobObject, type WorkerRole, workerRoles } from "../../../formats/kubernetes/objects.js";
import type { PodEnd, PodReport } from "../../../formats/kubernetes/pod-report.js";
import { isQueued } from "../../../formats/kubernetes/worker-job.js";
import type { Clock } from "../../../platform/clock/clock.js";
import type { Cluster } from "../../../platform/cluster/cluster.js";
import type { JobName, JobNotice, JobResources, NewGraftJob } from "../../../platform/job-resources/job-resources.js";
import { JobObjects } from "../../../platform/job-store/job-store.js";
import type { Jobs, KnownJob } from "../jobs.js";
import { noticeOf, toldOf } from "./notices.js";
import { WorkerEnds, WorkerPods } from "./worker-pods.js";
import { WorkQueue } from "./work-queue.js";

/** How long a job waits for workers that cannot run before it fails. */
export interface WorkerWaits {
  readonly unschedulableMs: number;
  readonly imagePullMs: number;
  readonly startMs: number;
}

export interface JobControllerDeps {
  readonly jobs: Jobs;
  readonly resources: JobResources;
  readonly cluster: Cluster;
  readonly clock: Clock;
  /** Checks what admission cannot. @throws CodedError SPEC_INVALID and others that end a job */
  readonly resolve: (job: Pick<NewGraftJob, "metadata" | "spec">) => ResolvedJob;
  readonly waits: WorkerWaits;
  /** Least time between two writes of one job's progress. */
  readonly progressMs: number;
  readonly onFailure: (jobId: string, error: unknown) => void;
}

/** A GraftJob as the controller knows it. */
interface Entry {
  resource: GraftJobObject;
  /** Undefined until it is taken up, and of one that never can be. */
  job: KnownJob | undefined;
  /** Why it never can be, and since when that is known. */
  rejected: { readonly error: CodedError; readonly atMs: number } | undefined;
  /** Resolves when taking it up was tried for the first time. */
  readonly tried: PromiseWithResolvers<void>;
  readonly ends: WorkerEnds;
  /** Pods of its workers that have not ended, by name. */
  readonly pods: Map<string, PodReport>;
  /** Pods whose end is to be recorded. */
  readonly ended: EndedPod[];
  /** What a role that is needed has waited for since a pod of it ran last, and since when on the monotonic clock. */
  readonly waits: Map<ErrorCode | "idle", number>;
  /** The status that was written last, and what the API server made of it. */
  written: { readonly wanted: string; readonly got: string; readonly atMs: number } | undefined;
  /** The state that was told last. */
  told: string | undefined;
  /** Workers that were asked for last, and until when pods end because they became fewer, on the monotonic clock. */
  readonly asked: Map<WorkerRole, { readonly count: number; readonly fewerUntilMs: number }>;
}

type EndedPod = PodReport & { readonly state: PodEnd };

/** Jobs that are reconciled at the same time. */
const AT_ONCE = 16;
/** Changes of a job that come within this are looked at together. */
const CHANGE_MS = 500;
/** A job whose reconciling failed in passing, or waits for something that gives no sign, is looked at again after this. */
const RETRY_MS = 5_000;
/** Workers that could not be made, in a namespace that is not prepared or whose quota is used up, are tried again after this. */
const MAKE_RETRY_MS = 30_000;

/** A pod that is not needed any more has ended after this: the grace period of the PodTemplates, and some. */
const LAST_MS = 60_000;

const roles = Object.keys(workerRoles) as readonly WorkerRole[];

/**
 * The GraftJobs of a cluster, kept as an operator keeps its resources: each one is taken up, has the workers that it needs, says in its status how it is, and is cleaned up after. Everything follows from
 * what the API server and the store say, so that a controller that is started anew goes on.
 */
export class JobController {
  private readonly deps: JobControllerDeps;
  private readonly entries = new Map<string, Entry>();
  private readonly queue: WorkQueue;
  private workers: WorkerPods | undefined;

  constructor(deps: JobControllerDeps) {
    this.deps = deps;
    this.queue = new WorkQueue(deps.clock, AT_ONCE, (uid) => this.attempt(uid));
  }

  /** Takes up every GraftJob that there is, and follows them until the signal. `ended` resolves after it, when nothing is under way. */
  async start(signal: AbortSignal): Promise<{ readonly ended: Promise<void> }> {
    const { resources, cluster, onFailure } = this.deps;
    const onLost = (error: unknown): void => onFailure("", error);
    this.workers = new WorkerPods(
      cluster,
      { pod: (report, isGone) => this.onPod(report, isGone), change: (uid) => this.queue.add(uid), lost: onLost },
      signal,
    );
    await resources.follow({ changed: (resource) => this.observe(resource), gone: (resource) => this.forget(resource), onLost }, signal);
    const ended = this.queue.run(signal);
    // Whoever calls from now on finds the jobs that there were.
    await Promise.all([...this.entries.values()].map(({ tried }) => tried.promise));
    return { ended };
  }

  /** Makes a GraftJob, as SubmitJob does, and takes it up. @throws CodedError CLUSTER_CONFLICT, CLUSTER_REFUSED, and what it is rejected for */
  async submit(job: NewGraftJob): Promise<KnownJob> {
    return this.taken(await this.deps.resources.create(job));
  }

  /** The job of that name, if there is one. */
  async find(name: JobName): Promise<KnownJob | undefined> {
    const resource = await this.deps.resources.read(name);
    return resource && this.taken(resource);
  }

  /** As `kubectl patch` does. */
  async suspend(job: KnownJob, suspend: boolean): Promise<void> {
    const entry = this.entries.get(job.jobId);
    if (entry === undefined) return;
    nextState(job.board.state, suspend ? "suspended" : "resumed"); // refused before it stands in the spec
    this.observe(await this.deps.resources.setSuspend(entry.resource.metadata, suspend));
    await this.deps.jobs.request(job, suspend ? "suspend" : "resume");
  }

  /** The job's time after its end is over. */
  async expire(job: KnownJob): Promise<void> {
    const entry = this.entries.get(job.jobId);
    if (entry !== undefined) await this.deps.resources.delete(entry.resource.metadata);
  }

  /** A job has changed in something that its status shows or its workers depend on. */
  onJobChange(job: KnownJob): void {
    const isTold = this.entries.get(job.jobId)?.told === toldOf(job.board.current);
    this.queue.add(job.jobId, isTold ? CHANGE_MS : 0);
  }

  private async taken(resource: GraftJobObject): Promise<KnownJob> {
    this.observe(resource);
    const entry = this.entries.get(resource.metadata.uid);
    await entry?.tried.promise;
    if (entry?.rejected !== undefined) throw entry.rejected.error;
    if (entry?.job !== undefined) return entry.job;
    const { namespace, name } = resource.metadata;
    throw new CodedError("SERVER_UNAVAILABLE", `GraftJob ${namespace}/${name} is there, and could not be taken up yet; ask again`);
  }

  private observe(resource: GraftJobObject): void {
    const { uid } = resource.metadata;
    const entry = this.entries.get(uid);
    if (entry !== undefined && !isNewer(resource, entry.resource)) return;
    if (entry !== undefined) entry.resource = resource;
    else
      this.entries.set(uid, {
        resource,
        job: undefined,
        rejected: undefined,
        tried: promiseWithResolvers(),
        ends: new WorkerEnds(this.deps.jobs.deps.store, uid),
        pods: new Map(),
        ended: [],
        waits: new Map(),
        written: undefined,
        told: undefined,
        asked: new Map(),
      });
    this.queue.add(uid);
  }

  /** Gone from the API server, after the clean-up or without it. */
  private forget({ metadata }: GraftJobObject): void {
    const job = this.entries.get(metadata.uid)?.job;
    this.entries.delete(metadata.uid);
    if (job !== undefined && this.deps.jobs.get(job.jobId) !== undefined) void this.deps.jobs.halt(job);
  }

  private onPod(report: PodReport, isGone: boolean): void {
    const entry = this.entries.get(report.jobUid);
    if (entry === undefined) return;
    const { state } = report;
    if (state.kind === "ended" || isGone) entry.pods.delete(report.name);
    else entry.pods.set(report.name, report);
    if (state.kind === "ended") entry.ended.push({ ...report, state });
    this.queue.add(report.jobUid);
  }

  private async attempt(uid: string): Promise<void> {
    const entry = this.entries.get(uid);
    if (entry === undefined) return;
    try {
      await this.reconcile(entry);
    } catch (error) {
      if (!(error instanceof CodedError && error.code === "INTERRUPTED")) this.deps.onFailure(uid, error);
      this.queue.add(uid, RETRY_MS);
    } finally {
      entry.tried.resolve();
    }
  }

  private async reconcile(entry: Entry): Promise<void> {
    // 1. A job that is deleted is cleaned up after.
    if (entry.resource.metadata.deletionTimestamp !== undefined) return this.cleanUp(entry);

    // 2. A new one is taken up; what may change in its spec is taken over.
    if (entry.job === undefined && entry.rejected === undefined) await this.takeUp(entry);
    const { job } = entry;
    entry.tried.resolve(); // nobody who asks for it waits for its workers and its status too
    if (job !== undefined) await this.takeOver(entry, job);

    // 3. It has the workers that it needs, and what has become of them is recorded.
    if (job !== undefined) {
      const problems = await this.applyWorkers(entry, job);
      await this.recordEnds(entry, job);
      await this.judge(entry, job, problems);
    }

    // 4. Its status says so.
    await this.writeStatus(entry);
    await this.expireRejected(entry);
  }

  /** Workers first, so that nobody writes what is being deleted; then its objects, then its record. */
  private async cleanUp(entry: Entry): Promise<void> {
    const { uid, finalizers = [] } = entry.resource.metadata;
    if (!finalizers.includes(FINALIZER)) return;
    const { jobs, resources } = this.deps;
    await this.workers?.follow(entry.resource.metadata.namespace);
    if (entry.job !== undefined) await jobs.halt(entry.job);
    if ((await this.workers?.deleteAll(uid)) === false) return this.queue.add(uid, RETRY_MS); // their own events come sooner
    const phase = entry.job?.board.state.phase ?? (await jobs.deps.jobs.readStatus(uid, jobStatus).catch(() => undefined))?.phase;
    const exceptResult = operationOf(entry.resource.spec).deletionPolicy === "RETAIN" && phase === "Complete";
    await new JobObjects(jobs.deps.store, uid).deleteAll({ exceptResult });
    await resources.release(entry.resource);
  }

  private async takeUp(entry: Entry): Promise<void> {
    const { jobs, resources, resolve } = this.deps;
    const { resource } = entry;
    const { uid, name, namespace, labels, annotations, creationTimestamp } = resource.metadata;
    await resources.hold(resource);
    await this.workers?.follow(namespace);
    try {
      const before = await jobs.deps.jobs.readSpec(uid, jobRecord);
      if (before === undefined) refuseFailed(resource); // for ever, also where what it lacked is there by now
      const job = before?.job ?? resolve(resource);
      if (before === undefined) await jobs.deps.enginesOf(job); // a backbone or a cut that there is not is refused here
      const record: JobRecord = before ?? {
        formatVersion: 1,
        requestId: annotations?.[REQUEST_ID_ANNOTATION] ?? uid,
        name,
        out: `${name}-model`,
        submittedMs: Date.parse(creationTimestamp),
        job,
        request: { metadata: { name, namespace, ...(labels && { labels }) }, spec: resource.spec },
      };
      entry.job = (await jobs.add(uid, record)).job;
      entry.job.pods = entry.pods;
    } catch (error) {
      if (!(error instanceof CodedError) || !endsJob(error.code)) throw error;
      entry.rejected = { error, atMs: Date.parse(resource.status?.completionTime ?? "") || this.deps.clock.now() };
    }
  }

  /** As a job that was taken up, one that never was is deleted when its time after the end is over. */
  private async expireRejected({ resource, rejected }: Entry): Promise<void> {
    const { ttlSecondsAfterFinished } = operationOf(resource.spec);
    if (rejected === undefined || ttlSecondsAfterFinished === undefined) return;
    const leftMs = rejected.atMs + ttlSecondsAfterFinished * 1000 - this.deps.clock.now();
    if (leftMs > 0) this.queue.add(resource.metadata.uid, leftMs);
    else await this.deps.resources.delete(resource.metadata);
  }

  private async takeOver({ resource }: Entry, job: KnownJob): Promise<void> {
    const { jobs, resolve } = this.deps;
    if (isFinal(job.board.state.phase)) return;
    try {
      jobs.change(job, resource.spec, resolve(resource));
    } catch (error) {
      if (!(error instanceof CodedError) || !endsJob(error.code)) throw error;
      return jobs.fail(job, error); // changed, or the config was, to what cannot be
    }
    const isSuspended = job.pause?.kind === "suspended";
    if ((resource.spec.suspend ?? false) !== isSuspended) await jobs.request(job, isSuspended ? "resume" : "suspend");
  }

  private async applyWorkers({ resource, asked }: Entry, job: KnownJob): Promise<RoleProblem[]> {
    const counts = this.countsOf(job);
    const engines = await this.enginesOf(job);
    const problems: RoleProblem[] = [];
    for (const role of roles) {
      const most = job.record.job[`${role}s`].max;
      const before = asked.get(role) ?? { count: 0, fewerUntilMs: 0 };
      const fewerUntilMs = counts[role] < before.count ? this.deps.clock.monotonic() + LAST_MS : before.fewerUntilMs;
      asked.set(role, { count: counts[role], fewerUntilMs });
      const problem = await this.workers?.apply(resource, {
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
  private async recordEnds({ resource, ended, ends, asked }: Entry, job: KnownJob): Promise<void> {
    for (let pod = ended[0]; pod !== undefined; pod = ended[0]) {
      const { name, uid, role, state } = pod;
      // Kubernetes ends pods that the job asks for no more.
      const { count = 0, fewerUntilMs = 0 } = asked.get(role) ?? {};
      const isSpare = state.end === "interrupted" && (count === 0 || this.deps.clock.monotonic() < fewerUntilMs);
      const { end, message } = isSpare ? ({ end: "done", message: "not needed any more" } as const) : state;
      const timeMs = this.deps.clock.now();
      if ((await ends.record(uid, { formatVersion: 1, timeMs, worker: name, role, end, message })) === "new") {
        const sentence = `${role} ${name}: ${end === "outOfMemory" ? "failed" : end}: ${message}`;
        job.log.append("worker", sentence);
        if (end !== "done")
          await this.tell(
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
  private async judge(entry: Entry, job: KnownJob, problems: readonly RoleProblem[]): Promise<void> {
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
      if (health.blocked !== undefined) await this.tell(entry.resource, "Warning", reasonOf(health.blocked.code), health.blocked.message);
    }
    if (health.blocked === undefined && health.idle === undefined) return entry.waits.clear();
    // Each thing that is waited for has its own time: a node that came late leaves the image all of its.
    const cause = health.blocked?.code ?? "idle";
    if (cause !== "idle") entry.waits.delete("idle");
    const sinceMs = entry.waits.get(cause) ?? clock.monotonic();
    entry.waits.set(cause, sinceMs);
    const waitMs = this.waitOf(health);
    const leftMs = sinceMs + waitMs - clock.monotonic();
    if (leftMs > 0) return this.queue.add(job.jobId, problems.length > 0 ? Math.min(leftMs, MAKE_RETRY_MS) : leftMs);
    const { code, message } = health.blocked ?? { code: "WORKERS_NOT_STARTED" as const, message: health.idle ?? "" };
    await jobs.fail(job, new CodedError(code, `${message}; the job has waited ${String(Math.round(waitMs / 1000))} s for it`));
  }

  private waitOf({ blocked }: WorkerHealth): number {
    const { unschedulableMs, imagePullMs, startMs } = this.deps.waits;
    const waits: Partial<Record<ErrorCode, number>> = { WORKERS_UNSCHEDULABLE: unschedulableMs, IMAGE_PULL_FAILED: imagePullMs };
    return (blocked && waits[blocked.code]) ?? startMs;
  }

  /** Writes the status where it differs from what stands: a change of state at once, progress now and then. What others made of it is mended. */
  private async writeStatus(entry: Entry): Promise<void> {
    const { clock, resources, progressMs } = this.deps;
    const status = statusOf(entry);
    if (status === undefined) return;
    const time = new Date(clock.now()).toISOString();
    const project = (stands: GraftJobObject): JobResourceStatus => {
      const { generation } = stands.metadata;
      const shown = resourceStatus(status);
      const conditions = mergeConditions(stands.status?.conditions ?? [], shown.conditions ?? [], { time, generation });
      return { ...shown, conditions, ...(generation !== undefined && { observedGeneration: generation }) };
    };
    const wanted = canonicalJson(project(entry.resource));
    const stands = canonicalJson(entry.resource.status ?? {});
    const { written } = entry;
    if (wanted === stands || (written?.wanted === wanted && written.got === stands)) return;
    const isTold = entry.told === toldOf(status) && entry.resource.status?.phase !== undefined;
    const leftMs = isTold && written !== undefined ? written.atMs + progressMs - clock.monotonic() : 0;
    if (leftMs > 0) return this.queue.add(entry.resource.metadata.uid, leftMs);
    const now = await resources.writeStatus(entry.resource, project);
    if (now === undefined) return;
    entry.written = { wanted, got: canonicalJson(now.status ?? {}), atMs: clock.monotonic() };
    if (isNewer(now, entry.resource)) entry.resource = now;
    if (entry.told === toldOf(status)) return;
    entry.told = toldOf(status);
    const notice = noticeOf(status);
    if (notice !== undefined) await this.tell(entry.resource, notice.type, notice.reason, notice.message);
  }

  /** An event less is no harm. */
  private async tell(resource: GraftJobObject, type: JobNotice["type"], reason: string, message: string): Promise<void> {
    await this.deps.resources
      .tell(resource, { type, reason, message })
      .catch((error: unknown) => this.deps.onFailure(resource.metadata.uid, error));
  }
}

/** On GraftJobs that SubmitJob made: the same request makes no second one. */
export const REQUEST_ID_ANNOTATION = "graft.dev/request-id";

function statusOf({ job, rejected }: Entry): JobStatus | undefined {
  if (job !== undefined) return job.board.current;
  if (rejected === undefined) return undefined;
  const { code, message } = rejected.error;
  return { ...pendingStatus, phase: "Failed", endedMs: rejected.atMs, failure: { code, message } };
}

/** @throws CodedError what a job that was never taken up has failed with */
function refuseFailed({ status }: GraftJobObject): void {
  const { code, message } = status?.failure ?? { code: "", message: "" };
  if (status?.phase === "FAILED" && Object.hasOwn(errorCodes, code)) throw new CodedError(code as ErrorCode, message);
}

/** By the API server's own counting, where both have one. */
function isNewer(now: GraftJobObject, before: GraftJobObject): boolean {
  const [a, b] = [now.metadata.resourceVersion ?? "", before.metadata.resourceVersion ?? ""];
  return [a, b].every((version) => /^\d+$/.test(version)) ? BigInt(a) > BigInt(b) : a !== b;
}

/** Of Node 22 on: Promise.withResolvers. */
function promiseWithResolvers(): PromiseWithResolvers<void> {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: () => void;
}
