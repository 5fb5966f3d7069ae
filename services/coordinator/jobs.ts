import { CodedError } from "../../domain/errors.js";
import type { JobEvent } from "../../domain/job/events.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { JobRecord, JobRequestRecord } from "../../domain/job/records.js";
import type { JobResource } from "../../domain/job/resource.js";
import { type JobStatus, pendingStatus, resourceStatus } from "../../domain/job/status.js";
import { isFinal, nextState } from "../../domain/job/transitions.js";
import { limits } from "../../domain/limits.js";
import { jobRecord, jobRequestRecord, jobStatus } from "../../formats/job-records/job-records.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { Bell } from "./bell.js";
import { JobCoordinator } from "./coordinator.js";
import type { CoordinatorDeps } from "./coordinator-deps.js";
import { JobLog } from "./job-log.js";
import type { JobProfiles } from "./plan-job.js";
import { StatusBoard } from "./status.js";
import { WorkerProfiles } from "./worker-profiles.js";

export interface JobsDeps extends Omit<CoordinatorDeps, "profiles" | "log" | "onChange" | "announce" | "workersOutlive" | "status"> {
  /** The engines that a job names, or those that can do its work. */
  readonly enginesOf: (job: ResolvedJob) => Promise<Readonly<Record<keyof JobProfiles, string>>>;
  readonly announce: (jobId: string, event: JobEvent) => void;
  /** A failure that only costs time; what becomes of it is decided here. */
  readonly onFailure: (jobId: string, error: unknown) => void;
}

/** A job that this coordinator knows. */
export interface KnownJob {
  readonly jobId: string;
  readonly record: JobRecord;
  readonly board: StatusBoard;
  readonly log: JobLog;
  /** Rings with each change that a watcher sees. */
  readonly bell: Bell;
  /** Grows with each of them. */
  revision: number;
  /** At work on it; undefined while it is suspended, waits to be tried again, or has ended. */
  coordinator: JobCoordinator | undefined;
  /** Why it is not being worked on although it has not ended. */
  pause: { readonly kind: "suspended" } | { readonly kind: "retry"; readonly error: unknown; readonly untilMs: number } | undefined;
  stop: AbortController;
  requests: number;
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
  private readonly lives = new Map<string, Promise<void>>();
  /** Aborts when this coordinator stops: nobody is kept waiting any more. */
  readonly signal: AbortSignal;
  /** Told apart from other runs of a coordinator: a watcher's revision of an earlier one is old. */
  private readonly epoch: string;

  constructor(deps: JobsDeps, signal: AbortSignal) {
    this.deps = deps;
    this.epoch = Buffer.from(deps.newKey().subarray(0, 6)).toString("hex");
    this.signal = signal;
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
    const stands = outcome === "created" ? record : ((await this.deps.jobs.readSpec(jobId, jobRecord)) ?? record);
    return { outcome, job: await this.take(jobId, stands, undefined) };
  }

  get all(): readonly KnownJob[] {
    return [...this.known.values()];
  }

  get(jobId: string): KnownJob | undefined {
    return this.known.get(jobId);
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
  async request(job: KnownJob, action: JobRequestRecord["action"]): Promise<void> {
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
    await board.update({ ...(action === "resume" ? board.state : state), ...(action === "cancel" && { endedMs: fact.timeMs }) });
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
    };
    const job: KnownJob = {
      jobId,
      record,
      board: new StatusBoard(this.deps.jobs, jobId, onChange, status ?? pendingStatus),
      log: new JobLog(objects, this.deps.clock, (error) => this.deps.onFailure(jobId, error)),
      bell,
      revision: 0,
      coordinator: undefined,
      pause: undefined,
      stop: new AbortController(),
      requests: 0,
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
    if (!isFinal(job.board.state.phase)) this.lives.set(jobId, this.live(job));
    return job;
  }

  /** From now to the job's end, or this coordinator's. */
  private async live(job: KnownJob): Promise<void> {
    while (!this.signal.aborted && !isFinal(job.board.state.phase)) {
      if (job.pause !== undefined) {
        const { pause } = job;
        const leftMs = pause.kind === "retry" ? pause.untilMs - this.deps.clock.monotonic() : limits.longPollMs;
        if (leftMs > 0) await job.bell.next(this.deps.clock, leftMs, this.signal);
        if (pause.kind === "retry" && this.deps.clock.monotonic() >= pause.untilMs) job.pause = undefined;
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
          job.pause = { kind: "retry", error, untilMs: this.deps.clock.monotonic() + RETRY_MS };
        }
      } finally {
        job.coordinator = undefined;
        job.bell.ring();
        this.workBell.ring();
      }
    }
  }

  private coordinatorDeps(job: KnownJob, signal: AbortSignal): CoordinatorDeps {
    return {
      ...this.deps,
      status: job.board,
      log: job.log,
      workersOutlive: true,
      profiles: async () => this.profiles.of(await this.deps.enginesOf(job.record.job), signal),
      onChange: () => this.workBell.ring(),
    };
  }
}
