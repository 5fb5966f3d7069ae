import { CodedError } from "../../domain/errors.js";
import { canonicalJson } from "../../domain/canonical-json.js";
import type { JobEvent } from "../../domain/job/events.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { operationOf } from "../../domain/job/operation.js";
import type { JobRecord, JobRequestRecord } from "../../domain/job/records.js";
import type { JobResource } from "../../domain/job/resource.js";
import { type JobStatus, pendingStatus, resourceStatus } from "../../domain/job/status.js";
import type { JobSpec } from "../../domain/job/spec.js";
import type { JobRunner } from "../../domain/job/unsupported.js";
import { isFinal, nextState } from "../../domain/job/transitions.js";
import { limits } from "../../domain/limits.js";
import type { PodReport } from "../../formats/kubernetes/pod-report.js";
import { jobRecord, jobRequestRecord, jobStatus } from "../../formats/job-records/job-records.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { Bell } from "./bell.js";
import { JobCoordinator } from "./coordinator.js";
import type { CoordinatorDeps } from "./coordinator-deps.js";
import { type LifeWatch, watchDeadline, watchExpiry } from "./job-life.js";
import { JobLog } from "./job-log.js";
import type { JobProfiles } from "./plan-job.js";
import { StatusBoard } from "./status.js";
import { WorkerProfiles } from "./worker-profiles.js";

export interface JobsDeps extends Omit<
  CoordinatorDeps,
  | "profiles"
  | "log"
  | "onChange"
  | "announce"
  | "workersOutlive"
  | "status"
  | "openDataset"
  | "readWeights"
  | "trainers"
  | "workerFailuresMax"
> {
  /** The weights that a job's `initialWeights.fromResult` names. */
  readonly readWeights: (from: string, record: JobRecord) => Promise<Uint8Array>;
  /** The dataset of a job; with the keys that the job names, on Kubernetes. */
  readonly openDataset: (source: string, record: JobRecord) => Promise<OpenedDataset>;
  /** The engines that a job names, or those that can do its work. */
  readonly enginesOf: (job: ResolvedJob) => Promise<Readonly<Record<keyof JobProfiles, string>>>;
  readonly announce: (jobId: string, event: JobEvent) => void;
  /** A failure that only costs time; what becomes of it is decided here. */
  readonly onFailure: (jobId: string, error: unknown) => void;
  readonly runner: Exclude<JobRunner, "process">;
  /** How long failures that pass are waited out before the job fails with the last of them; absent: for as long as it takes. */
  readonly retryForMs?: number | undefined;
  /** A job has changed in something that others may see. */
  readonly onChange?: (job: KnownJob) => void;
  /** A job's time after its end is over. Absent: its record and objects are deleted. */
  readonly onExpired?: (job: KnownJob) => Promise<void>;
}

/** A job that this coordinator knows. */
export interface KnownJob {
  readonly jobId: string;
  /** What of the spec may change while the job stands does so here. */
  record: JobRecord;
  readonly board: StatusBoard;
  readonly log: JobLog;
  /** Rings with each change that a watcher sees. */
  readonly bell: Bell;
  /** Rings when what the spec says of the job's life has changed, and when that life is over. */
  readonly specBell: Bell;
  /** Grows with each change that a watcher sees. */
  revision: number;
  /** At work on it; undefined while it is suspended, waits to be tried again, or has ended. */
  coordinator: JobCoordinator | undefined;
  /** Why it is not being worked on although it has not ended. */
  pause: { readonly kind: "suspended" } | { readonly kind: "retry"; readonly error: unknown; readonly untilMs: number } | undefined;
  stop: AbortController;
  requests: number;
  isRemoved: boolean;
  /** When the failures began that the job has met since it last got on, on the monotonic clock. */
  failingSinceMs: number | undefined;
  /** How far the job was when they came: one that comes when it has got on is a new beginning. */
  failingAt: string | undefined;
  /** The numerics profiles of workers that are this job's alone. */
  readonly profiles: WorkerProfiles;
  /** On Kubernetes: the pods of its workers that have not ended, by name. */
  pods: ReadonlyMap<string, PodReport>;
}

/** The Kubernetes namespace of a job; "" elsewhere. */
export function namespaceOf({ request }: JobRecord): string {
  return request?.metadata.namespace ?? "";
}

/** Before a job whose coordinator met a passing failure is taken up again. */
const RETRY_MS = 5_000;

/**
 * Every job in the store, and the life of each that has not ended: one `JobCoordinator` is at work on it unless it is suspended. A coordinator that is started anew finds everything in the store.
 */
export class Jobs {
  readonly deps: JobsDeps;
  readonly profiles = new WorkerProfiles();
  /** Rings whenever a worker may find something to do. */
  readonly workBell = new Bell();
  private readonly known = new Map<string, KnownJob>();
  private readonly lives = new Map<string, Promise<unknown>>();
  /** The request that was made last of each job. */
  private readonly requests = new Map<string, Promise<void>>();
  /** Aborts when this coordinator stops: nobody is kept waiting any more. */
  readonly signal: AbortSignal;
  /** Told apart from other runs of a coordinator: a watcher's revision of an earlier one is old. */
  private readonly epoch: string;
  private readonly life: LifeWatch;

  constructor(deps: JobsDeps, signal: AbortSignal) {
    this.deps = deps;
    this.epoch = Buffer.from(deps.newKey().subarray(0, 6)).toString("hex");
    this.signal = signal;
    const { clock, onExpired, onFailure } = deps;
    this.life = {
      clock,
      signal,
      onFailure,
      fail: (job, error) => this.fail(job, error),
      expire:
        onExpired ??
        (async (job) => {
          // Not waited for: a job that goes waits for this.
          void this.delete(job).catch((error: unknown) => onFailure(job.jobId, error));
        }),
    };
  }

  /** Takes up what is in the store. */
  async load(): Promise<void> {
    for await (const jobId of this.deps.jobs.list()) {
      if (this.known.has(jobId)) continue;
      const record = await this.deps.jobs.readSpec(jobId, jobRecord);
      // A run of one process has its own coordinator there.
      if (record?.request === undefined) continue;
      await this.take(jobId, record, await this.deps.jobs.readStatus(jobId, jobStatus).catch(() => undefined));
    }
  }

  /** Records a job and begins with it; "exists": it was recorded before. */
  async add(jobId: string, record: JobRecord): Promise<{ readonly outcome: "created" | "exists"; readonly job: KnownJob }> {
    const outcome = await this.deps.jobs.create(jobId, record);
    const known = this.known.get(jobId);
    if (known !== undefined) return { outcome, job: known };
    if (outcome === "created") return { outcome, job: await this.take(jobId, record, undefined) };
    const stands = (await this.deps.jobs.readSpec(jobId, jobRecord)) ?? record;
    // One that has ended does not go through its phases again, with workers and all.
    const status = await this.deps.jobs.readStatus(jobId, jobStatus).catch(() => undefined);
    return { outcome, job: await this.take(jobId, stands, status) };
  }

  get all(): readonly KnownJob[] {
    return [...this.known.values()];
  }

  get(jobId: string): KnownJob | undefined {
    return this.known.get(jobId);
  }

  /** Takes over what of a job's spec may change while it stands: number and place of workers, deadlines, limits. */
  change(job: KnownJob, spec: JobSpec, resolved: ResolvedJob): void {
    const { request } = job.record;
    if (request === undefined || canonicalJson(request.spec) === canonicalJson(spec)) return;
    job.record = { ...job.record, job: resolved, request: { ...request, spec } };
    job.coordinator?.resize(resolved.trainers);
    job.bell.ring();
    job.specBell.ring();
  }

  /** Ends a job that has not ended with a failure that its coordinator did not meet itself: a deadline, its pods. */
  async fail(job: KnownJob, error: CodedError): Promise<void> {
    const { board } = job;
    if (isFinal(board.state.phase)) return;
    if (job.coordinator !== undefined) {
      job.stop.abort(error);
      return;
    }
    job.log.append("failure", `${error.message} [${error.code}]`);
    const failure = { code: error.code, message: error.message };
    await board.update({ ...nextState(board.state, "gaveUp"), endedMs: this.deps.clock.now(), failure });
    job.bell.ring();
  }

  /** Lets a job go that nobody wants any more: nothing works on it when this resolves, and nobody finds it. */
  async halt(job: KnownJob): Promise<void> {
    job.isRemoved = true;
    job.stop.abort(new CodedError("INTERRUPTED", `job ${job.jobId} is deleted`));
    job.bell.ring();
    await this.lives.get(job.jobId);
    await job.log.flush();
    this.lives.delete(job.jobId);
    this.requests.delete(job.jobId);
    this.known.delete(job.jobId);
  }

  /** Deletes a job with its objects, but for a result that is to be kept. */
  private async delete(job: KnownJob): Promise<void> {
    const keepsResult = operationOf(job.record.request?.spec ?? {}).deletionPolicy === "RETAIN";
    await this.halt(job);
    await new JobObjects(this.deps.store, job.jobId).deleteAll({ exceptResult: keepsResult && job.board.state.phase === "Complete" });
  }

  /** The weights of a result of the same namespace, by its job's name or uid. @throws CodedError WEIGHTS_INVALID */
  async readWeightsOf(from: string, namespace: string): Promise<Uint8Array> {
    const [source] = this.all
      .filter(
        ({ record, jobId, board }) =>
          (record.name === from || jobId === from) && namespaceOf(record) === namespace && board.state.phase === "Complete",
      )
      .sort((a, b) => b.record.submittedMs - a.record.submittedMs);
    const weights = source && (await new JobObjects(this.deps.store, source.jobId).readResult("weights.safetensors"));
    if (weights !== undefined) return weights;
    throw new CodedError(
      "WEIGHTS_INVALID",
      `initialWeights.fromResult: namespace ${namespace} has no complete GraftJob ${JSON.stringify(from.slice(0, 100))}; on Kubernetes it is the name or the uid of one`,
    );
  }

  /** The job as programs see it. */
  resource(job: KnownJob): JobResource {
    const { record, jobId, board, revision } = job;
    return {
      apiVersion: "graft.dev/v1alpha1",
      kind: "GraftJob",
      metadata: {
        ...record.request?.metadata,
        name: record.name,
        uid: jobId,
        generation: 1,
        resourceVersion: `${this.epoch}.${String(revision)}`,
        creationTimestamp: new Date(record.submittedMs).toISOString(),
      },
      spec: record.request?.spec ?? {},
      status: resourceStatus(board.current),
    };
  }

  /** What a user asked for after submitting; a fact, so that a coordinator that is started anew obeys too. @throws CodedError JOB_TRANSITION_ILLEGAL */
  request(job: KnownJob, action: JobRequestRecord["action"]): Promise<void> {
    // One after another: kubectl and gRPC may ask for the same at the same time.
    const done = (this.requests.get(job.jobId) ?? Promise.resolve()).catch(() => undefined).then(() => this.obey(job, action));
    this.requests.set(job.jobId, done);
    return done;
  }

  private async obey(job: KnownJob, action: JobRequestRecord["action"]): Promise<void> {
    const { board } = job;
    const move = { suspend: "suspended", resume: "resumed", cancel: "cancelled" }[action] as "suspended" | "resumed" | "cancelled";
    if (action === "cancel" && board.state.phase === "Cancelled") return;
    if (action !== "cancel" && !isFinal(board.state.phase) && board.state.suspended === (action === "suspend")) return;
    const state = nextState(board.state, move);
    const fact: JobRequestRecord = { formatVersion: 1, timeMs: this.deps.clock.now(), action };
    const objects = new JobObjects(this.deps.store, job.jobId);
    while ((await objects.createJson(`requests/${String(job.requests)}.json`, fact, jobRequestRecord)).outcome === "exists") job.requests++;
    job.requests++;
    job.log.append("request", { suspend: "suspended", resume: "resumed", cancel: "cancelled" }[action] + " by request");
    job.pause = action === "suspend" ? { kind: "suspended" } : undefined;
    if (action === "resume") job.stop = new AbortController();
    else job.stop.abort(new CodedError("INTERRUPTED", `job ${job.jobId} is ${state.phase === "Cancelled" ? "cancelled" : "suspended"}`));
    if (action === "resume") board.restart();
    // As with batch/v1 Jobs, a deadline counts from the last time that the job was resumed.
    const start = action === "resume" && board.current.startedMs !== undefined ? { startedMs: fact.timeMs } : {};
    await board.update({ ...(action === "resume" ? board.state : state), ...start, ...(action === "cancel" && { endedMs: fact.timeMs }) });
    job.bell.ring();
  }

  /** Resolves when every job stands still, after the signal. */
  async stopped(): Promise<void> {
    await Promise.all(this.lives.values());
    await Promise.all(this.all.map(({ log }) => log.flush()));
  }

  private async take(jobId: string, record: JobRecord, status: JobStatus | undefined): Promise<KnownJob> {
    const objects = new JobObjects(this.deps.store, jobId);
    const bell = new Bell();
    const onChange = (): void => {
      job.revision++;
      bell.ring();
      this.deps.onChange?.(job);
    };
    const job: KnownJob = {
      jobId,
      record,
      board: new StatusBoard(this.deps.jobs, jobId, onChange, status ?? pendingStatus),
      log: new JobLog(objects, this.deps.clock, (error) => this.deps.onFailure(jobId, error)),
      bell,
      specBell: new Bell(),
      revision: 0,
      coordinator: undefined,
      pause: undefined,
      stop: new AbortController(),
      requests: 0,
      isRemoved: false,
      failingSinceMs: undefined,
      failingAt: undefined,
      profiles: new WorkerProfiles(this.profiles),
      pods: new Map(),
    };
    this.known.set(jobId, job);
    // As it was submitted, until somebody asks for something else.
    if (record.request?.spec.suspend === true) job.pause = { kind: "suspended" };
    for (const number of await objects.numberedFacts("requests")) {
      const request = await objects.readJson(`requests/${String(number)}.json`, jobRequestRecord);
      job.requests = number + 1;
      if (request?.action === "suspend") job.pause = { kind: "suspended" };
      if (request?.action === "resume") job.pause = undefined;
      if (request?.action === "cancel" && !isFinal(job.board.state.phase)) await job.board.update(nextState(job.board.state, "cancelled"));
    }
    const { state } = job.board;
    if (job.pause !== undefined && !isFinal(state.phase) && !state.suspended) await job.board.update(nextState(state, "suspended"));
    this.lives.set(jobId, Promise.all([this.live(job), watchDeadline(job, this.life), watchExpiry(job, this.life)]));
    return job;
  }

  /** From now to the job's end, or this coordinator's. */
  private async live(job: KnownJob): Promise<void> {
    while (!this.signal.aborted && !job.isRemoved && !isFinal(job.board.state.phase)) {
      if (job.pause !== undefined) {
        const { pause } = job;
        const leftMs = pause.kind === "retry" ? pause.untilMs - this.deps.clock.monotonic() : limits.longPollMs;
        if (leftMs > 0) await job.bell.next(this.deps.clock, leftMs, this.signal);
        if (pause.kind === "retry" && this.deps.clock.monotonic() >= pause.untilMs) {
          job.pause = undefined;
          await this.giveUpIfOverdue(job, pause.error);
        }
        continue;
      }
      job.board.restart();
      const stop = AbortSignal.any([this.signal, job.stop.signal]);
      job.coordinator = new JobCoordinator(job.jobId, this.coordinatorDeps(job, stop));
      try {
        await job.coordinator.run(stop);
      } catch (error) {
        if (!stop.aborted && !isFinal(job.board.state.phase)) {
          this.deps.onFailure(job.jobId, error);
          const nowMs = this.deps.clock.monotonic();
          const { phase, tasksCommitted = 0, checkpointStep = 0 } = job.board.current;
          const place = `${phase} ${String(tasksCommitted)} ${String(checkpointStep)}`;
          job.failingSinceMs = job.failingAt === place ? (job.failingSinceMs ?? nowMs) : nowMs;
          job.failingAt = place;
          job.pause = { kind: "retry", error, untilMs: nowMs + RETRY_MS };
        }
      } finally {
        job.coordinator = undefined;
        job.bell.ring();
        this.workBell.ring();
      }
    }
    job.specBell.ring();
  }

  /** What has not passed for long will not. */
  private async giveUpIfOverdue(job: KnownJob, error: unknown): Promise<void> {
    const { retryForMs, clock } = this.deps;
    if (retryForMs === undefined || clock.monotonic() - (job.failingSinceMs ?? Infinity) < retryForMs) return;
    const seconds = String(Math.round(retryForMs / 1000));
    const [code, message] = error instanceof CodedError ? [error.code, error.message] : ["OBJECT_CORRUPT" as const, String(error)];
    await this.fail(job, new CodedError(code, `${message}; it has not passed for ${seconds} s`));
  }

  private coordinatorDeps(job: KnownJob, signal: AbortSignal): CoordinatorDeps {
    return {
      ...this.deps,
      status: job.board,
      log: job.log,
      workersOutlive: true,
      openDataset: (source) => this.deps.openDataset(source, job.record),
      readWeights: (from) => this.deps.readWeights(from, job.record),
      trainers: job.record.job.trainers,
      // On Kubernetes it is for pods that failed; what workers report there may be a store that restarts.
      workerFailuresMax: this.deps.runner === "kubernetes" ? undefined : operationOf(job.record.request?.spec ?? {}).backoffLimit,
      profiles: async () => job.profiles.of(await this.deps.enginesOf(job.record.job), signal),
      onChange: () => {
        this.workBell.ring();
        this.deps.onChange?.(job);
      },
    };
  }
}
