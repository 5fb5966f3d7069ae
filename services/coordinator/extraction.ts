import type { JobEvent } from "../../domain/job/events.js";
import type { CommitRecord, CommittedShard, ListingRecord, PlanRecord, TaskCommit } from "../../domain/job/records.js";
import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { fitsProfile, type NumericsProfile } from "../../domain/features/numerics-profile.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { limits } from "../../domain/limits.js";
import { repairRecord, commitRecord } from "../../formats/job-records/job-records.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { TaskClaim, TaskProgress } from "../../platform/work-service/work-service.js";
import { Bell } from "./bell.js";
import { type Lease, LeaseTable } from "./leases.js";

/** Commits that are read at the same time when an extraction is taken up: each takes milliseconds to check, and they may come all at once. */
const COMMITS_AT_ONCE = 8;
/** What others, who share the store, appended to the index may be this old: at worst a picture is extracted twice. */
const INDEX_AGE_MS = 1_000;

/** What is held of a commit. Its image ids stay in the store: those of 10 million pictures are a gigabyte as text. */
export interface CommittedTask {
  readonly worker: string;
  readonly extracted: number;
  readonly cached: number;
  readonly rejected: number;
}

export interface ExtractionDeps {
  readonly job: JobObjects;
  readonly plan: PlanRecord;
  readonly listing: ListingRecord;
  readonly features: JobFeatures;
  readonly clock: Clock;
  readonly announce: (event: JobEvent) => void;
  /** Default limits.leaseMs. */
  readonly leaseMs?: number;
  /** A task can be claimed, or none is left. */
  readonly onChange: () => void;
}

/**
 * The extraction of one job: gives out its tasks under leases and records their commits, until every task has one.
 * The commits are the truth; what stands here in memory can be lost at any time.
 */
export class Extraction {
  private readonly job: JobObjects;
  private readonly plan: PlanRecord;
  private readonly listing: ListingRecord;
  private readonly features: JobFeatures;
  private readonly clock: Clock;
  private readonly announce: (event: JobEvent) => void;
  private readonly onChange: () => void;
  private readonly leaseMs: number;
  private readonly leases: LeaseTable;
  private readonly profile: string;
  private readonly committedTasks = new Map<number, CommittedTask>();
  /** Of all committed tasks. */
  private readonly outcome = { extracted: 0, cached: 0, rejected: 0 };
  /** Tasks of the listing and of repairs. */
  readonly tasks: number;
  /** Of tasks under way, by lease. */
  private readonly underWay = new Map<string, TaskProgress>();
  /** Of all tasks under way. */
  private readonly outcomeUnderWay = { extracted: 0, cached: 0, rejected: 0 };
  private readonly startMs: number;
  private extractedNow = 0;
  private refreshedMs = -Infinity;
  private readonly changed = new Bell();

  private constructor(deps: ExtractionDeps, tasks: number, committed: ReadonlyMap<number, CommittedTask>) {
    this.job = deps.job;
    this.plan = deps.plan;
    this.listing = deps.listing;
    this.features = deps.features;
    this.clock = deps.clock;
    this.announce = deps.announce;
    this.onChange = deps.onChange;
    this.tasks = tasks;
    this.profile = canonicalJson(deps.plan.featureSpec.profile);
    for (const [task, commit] of committed) this.note(task, commit);
    const open = Array.from({ length: tasks }, (_, task) => task).filter((task) => !committed.has(task));
    this.leaseMs = deps.leaseMs ?? limits.leaseMs;
    this.leases = new LeaseTable(open, this.leaseMs, deps.clock);
    this.startMs = deps.clock.monotonic();
  }

  /** Takes up what an earlier coordinator left: tasks of the listing and of repairs, and the commits that stand. */
  static async open(deps: ExtractionDeps): Promise<Extraction> {
    const repairs = await deps.job.numberedFacts("repairs");
    const committed = new Map<number, CommittedTask>();
    const numbers = await deps.job.committedTasks();
    for (let from = 0; from < numbers.length; from += COMMITS_AT_ONCE)
      await Promise.all(
        numbers.slice(from, from + COMMITS_AT_ONCE).map(async (task) => {
          const commit = await deps.job.readCommit(task, commitRecord);
          if (commit !== undefined) committed.set(task, heldOf(commit));
        }),
      );
    return new Extraction(deps, deps.listing.tasks + repairs.length, committed);
  }

  get complete(): boolean {
    return this.committedTasks.size === this.tasks;
  }

  /** The committed tasks, in no order; repairs are numbered after the tasks of the listing. */
  get committed(): ReadonlyMap<number, CommittedTask> {
    return this.committedTasks;
  }

  /** A task for this worker, "done" once every task is committed, undefined while all are under way. @throws CodedError NUMERICS_PROFILE_MISMATCH */
  tryClaim(worker: string, profile: NumericsProfile): TaskClaim | undefined {
    if (!fitsProfile(profile, this.plan.featureSpec.profile)) {
      throw new CodedError(
        "NUMERICS_PROFILE_MISMATCH",
        `worker ${worker}: its numerics profile is ${canonicalJson(profile)}, job ${this.job.jobId} is pinned to ${this.profile}; ` +
          "run it on the same engine, version and kind of machine",
      );
    }
    if (this.complete) return { kind: "done" };
    const claimed = this.leases.claim(worker);
    return claimed && { kind: "task", leaseMs: this.leaseMs, jobId: this.job.jobId, ...claimed };
  }

  /** The same, waiting for a task up to `limits.longPollMs`. */
  async claim(worker: string, profile: NumericsProfile, signal: AbortSignal): Promise<TaskClaim> {
    const untilMs = this.clock.monotonic() + limits.longPollMs;
    for (;;) {
      if (signal.aborted) return { kind: "done" };
      const claimed = this.tryClaim(worker, profile);
      if (claimed !== undefined) return claimed;
      const leftMs = untilMs - this.clock.monotonic();
      if (leftMs <= 0) return { kind: "ask again" };
      await this.changed.next(this.clock, Math.min(leftMs, this.leases.nextOfferMs() ?? leftMs), signal);
    }
  }

  /** Who is at which task, for people. */
  get held(): LeaseTable["held"] {
    return this.leases.held;
  }

  /** Until a task may be claimed that cannot be now; undefined where only a change can bring one. */
  nextOfferMs(): number | undefined {
    return this.leases.nextOfferMs();
  }

  heartbeat(task: Lease, progress: TaskProgress): "kept" | "lost" {
    const renewed = this.leases.renew(task);
    this.forget(task.lease);
    if (renewed === "kept") {
      this.underWay.set(task.lease, progress);
      add(this.outcomeUnderWay, progress, 1);
    }
    this.announceProgress();
    return renewed;
  }

  /** One byte, 0 or 1, for each of `imageIds` (`[n, 32]`). */
  async lookup(imageIds: Uint8Array, view: number): Promise<Uint8Array> {
    const now = this.clock.monotonic();
    if (now - this.refreshedMs >= INDEX_AGE_MS) {
      this.refreshedMs = now;
      await this.features.refresh();
    }
    return Uint8Array.from({ length: imageIds.length / IMAGE_ID_BYTES }, (_, row) =>
      this.features.has(imageIds.subarray(row * IMAGE_ID_BYTES, (row + 1) * IMAGE_ID_BYTES), view) ? 1 : 0,
    );
  }

  /** Shards first, then the commit that makes them this task's; a crash between the two leaves features that the next claim finds. */
  async commit(lease: string, commit: TaskCommit): Promise<"committed" | "already committed"> {
    const { shards, ...record } = commit;
    await this.features.append(shards);
    const { outcome, value } = await this.job.commitTask(record, commitRecord);
    this.note(commit.task, heldOf(value));
    this.leases.commit(commit.task);
    this.forget(lease);
    if (outcome === "created") this.extractedNow += commit.extracted;
    this.announceProgress();
    // Those who wait for a task find none because another one is done, unless it was the last; stragglers are offered by time.
    if (this.complete) this.wake();
    return outcome === "created" ? "committed" : "already committed";
  }

  /** Shards that a commit or a release leaves out: they count from now on, whoever commits the task. */
  async append(shards: readonly CommittedShard[]): Promise<void> {
    await this.features.append(shards);
  }

  async release(lease: string, shards: readonly CommittedShard[]): Promise<void> {
    if (shards.length > 0) await this.features.append(shards);
    this.leases.release(lease);
    this.forget(lease);
    this.wake();
  }

  /** Resolves when every task is committed. */
  async done(signal: AbortSignal): Promise<void> {
    while (!this.complete) {
      signal.throwIfAborted();
      await this.changed.next(this.clock, undefined, signal);
    }
  }

  /** Decoded pictures a second of this process, null where none was decoded. */
  get imagesPerSecond(): number | null {
    return this.extractedNow === 0 ? null : this.extractedNow / this.seconds;
  }

  get seconds(): number {
    return (this.clock.monotonic() - this.startMs) / 1000;
  }

  /** Adds a task that extracts the given pictures again, and returns how many they are. The features of all others stay. */
  static async repair(job: JobObjects, listing: ListingRecord, isMissing: (imageId: Uint8Array) => boolean): Promise<number> {
    const rows: ListingRow[] = [];
    for (let task = 0; task < listing.tasks; task++) {
      const commit = await job.readCommit(task, commitRecord);
      if (commit === undefined) continue;
      const ids = Buffer.from(commit.imageIds, "base64");
      const pictures = await job.readListing(task);
      rows.push(...pictures.filter((_, row) => isMissing(ids.subarray(row * IMAGE_ID_BYTES, (row + 1) * IMAGE_ID_BYTES))));
    }
    if (rows.length === 0) return 0;
    const repairs = (await job.numberedFacts("repairs")).length;
    const task = listing.tasks + repairs;
    await job.writeListing(task, rows);
    await job.createJson(`repairs/${String(repairs)}.json`, { formatVersion: 1, task, pictures: rows.length }, repairRecord);
    return rows.length;
  }

  /** The first commit of a task counts. */
  private note(task: number, commit: CommittedTask): void {
    if (this.committedTasks.has(task)) return;
    this.committedTasks.set(task, commit);
    add(this.outcome, commit, 1);
  }

  private forget(lease: string): void {
    const progress = this.underWay.get(lease);
    if (progress === undefined) return;
    this.underWay.delete(lease);
    add(this.outcomeUnderWay, progress, -1);
  }

  private announceProgress(): void {
    const { outcome, outcomeUnderWay, extractedNow } = this;
    const cached = outcome.cached + outcomeUnderWay.cached;
    const rejected = outcome.rejected + outcomeUnderWay.rejected;
    this.announce({
      kind: "extraction",
      done: outcome.extracted + outcomeUnderWay.extracted + cached + rejected,
      total: this.listing.pictures,
      cached,
      rejected,
      imagesPerSecond: (extractedNow + outcomeUnderWay.extracted) / Math.max(this.seconds, 1e-3),
    });
  }

  private wake(): void {
    this.changed.ring();
    this.onChange();
  }
}

function heldOf({ worker, extracted, cached, rejected }: CommitRecord): CommittedTask {
  return { worker, extracted, cached, rejected: rejected.length };
}

function add(sum: { extracted: number; cached: number; rejected: number }, progress: TaskProgress, sign: 1 | -1): void {
  sum.extracted += sign * progress.extracted;
  sum.cached += sign * progress.cached;
  sum.rejected += sign * progress.rejected;
}
