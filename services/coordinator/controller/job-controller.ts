import { CodedError, endsJob, type ErrorCode, errorCodes } from "../../../domain/errors.js";
import type { ResolvedJob } from "../../../domain/job/job.js";
import { operationOf } from "../../../domain/job/operation.js";
import type { JobRecord } from "../../../domain/job/records.js";
import { isFinal, nextState } from "../../../domain/job/transitions.js";
import { jobRecord, jobStatus } from "../../../formats/job-records/job-records.js";
import { FINALIZER, type GraftJobObject } from "../../../formats/kubernetes/objects.js";
import type { PodReport } from "../../../formats/kubernetes/pod-report.js";
import type { Clock } from "../../../platform/clock/clock.js";
import type { Cluster } from "../../../platform/cluster/cluster.js";
import type { JobName, JobResources, NewGraftJob } from "../../../platform/job-resources/job-resources.js";
import { JobObjects } from "../../../platform/job-store/job-store.js";
import type { Jobs, KnownJob } from "../jobs.js";
import { type Entry, isNewer, newEntry } from "./entry.js";
import { JobWorkers, type WorkerWaits } from "./job-workers.js";
import { toldOf } from "./notices.js";
import { StatusWriter } from "./status-writer.js";
import { WorkerPods } from "./worker-pods.js";
import { WorkQueue } from "./work-queue.js";

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

/** Jobs that are reconciled at the same time. */
const AT_ONCE = 16;
/** Changes of a job that come within this are looked at together. */
const CHANGE_MS = 500;
/** A job whose reconciling failed in passing, or waits for something that gives no sign, is looked at again after this. */
const RETRY_MS = 5_000;
/**
 * The GraftJobs of a cluster, kept as an operator keeps its resources: each one is taken up, has the workers that it needs, says in its status how it is, and is cleaned up after. Everything follows from
 * what the API server and the store say, so that a controller that is started anew goes on.
 */
export class JobController {
  private readonly deps: JobControllerDeps;
  private readonly entries = new Map<string, Entry>();
  private readonly queue: WorkQueue;
  private readonly status: StatusWriter;
  private pods: WorkerPods | undefined;
  private workers: JobWorkers | undefined;

  constructor(deps: JobControllerDeps) {
    this.deps = deps;
    this.queue = new WorkQueue(deps.clock, AT_ONCE, (uid) => this.attempt(uid));
    this.status = new StatusWriter({ ...deps, again: (uid, afterMs) => this.queue.add(uid, afterMs) });
  }

  /** Takes up every GraftJob that there is, and follows them until the signal. `ended` resolves after it, when nothing is under way. */
  async start(signal: AbortSignal): Promise<{ readonly ended: Promise<void> }> {
    const { resources, cluster, onFailure } = this.deps;
    const onLost = (error: unknown): void => onFailure("", error);
    this.pods = new WorkerPods(
      cluster,
      { pod: (report, isGone) => this.onPod(report, isGone), change: (uid) => this.queue.add(uid), lost: onLost },
      signal,
    );
    const tell: StatusWriter["tell"] = (...notice) => this.status.tell(...notice);
    this.workers = new JobWorkers({ ...this.deps, tell, again: (uid, afterMs) => this.queue.add(uid, afterMs) }, this.pods);
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
    else this.entries.set(uid, newEntry(resource, this.deps.jobs.deps.store));
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
      const problems = (await this.workers?.apply(entry, job)) ?? [];
      await this.workers?.recordEnds(entry, job);
      await this.workers?.judge(entry, job, problems);
    }

    // 4. Its status says so.
    await this.status.write(entry);
    await this.expireRejected(entry);
  }

  /** Workers first, so that nobody writes what is being deleted; then its objects, then its record. */
  private async cleanUp(entry: Entry): Promise<void> {
    const { uid, finalizers = [] } = entry.resource.metadata;
    if (!finalizers.includes(FINALIZER)) return;
    const { jobs, resources } = this.deps;
    await this.pods?.follow(entry.resource.metadata.namespace);
    if (entry.job !== undefined) await jobs.halt(entry.job);
    if ((await this.pods?.deleteAll(uid)) === false) return this.queue.add(uid, RETRY_MS); // their own events come sooner
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
    await this.pods?.follow(namespace);
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
}

/** On GraftJobs that SubmitJob made: the same request makes no second one. */
export const REQUEST_ID_ANNOTATION = "graft.dev/request-id";

/** @throws CodedError what a job that was never taken up has failed with */
function refuseFailed({ status }: GraftJobObject): void {
  const { code, message } = status?.failure ?? { code: "", message: "" };
  if (status?.phase === "FAILED" && Object.hasOwn(errorCodes, code)) throw new CodedError(code as ErrorCode, message);
}
