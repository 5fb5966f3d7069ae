import type { JobEvent } from "../../domain/job/events.js";
import type { CommittedShard, ListingRecord, PlanRecord, TaskCommit } from "../../domain/job/records.js";
import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { limits } from "../../domain/limits.js";
import { repairRecord, taskCommit } from "../../formats/job-records/job-records.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { TaskClaim, TaskProgress } from "../../platform/work-service/work-service.js";
import { type Lease, LeaseTable } from "./leases.js";

/** What others, who share the store, appended to the index may be this old: at worst a picture is extracted twice. */
const INDEX_AGE_MS = 1_000;

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
  private readonly committed: Map<number, TaskCommit>;
  /** Tasks of the listing and of repairs. */
  readonly tasks: number;
  /** Of tasks under way, by lease. */
  private readonly underWay = new Map<string, TaskProgress>();
  private readonly startMs: number;
  private extractedNow = 0;
  private refreshedMs = -Infinity;
  private readonly changed = new Set<() => void>();

  private constructor(deps: ExtractionDeps, tasks: number, committed: Map<number, TaskCommit>) {
    this.job = deps.job;
    this.plan = deps.plan;
    this.listing = deps.listing;
    this.features = deps.features;
    this.clock = deps.clock;
    this.announce = deps.announce;
    this.onChange = deps.onChange;
    this.tasks = tasks;
    this.committed = committed;
    const open = Array.from({ length: tasks }, (_, task) => task).filter((task) => !committed.has(task));
    this.leaseMs = deps.leaseMs ?? limits.leaseMs;
    this.leases = new LeaseTable(open, this.leaseMs, deps.clock);
    this.startMs = deps.clock.monotonic();
  }

  /** Takes up what an earlier coordinator left: tasks of the listing and of repairs, and the commits that stand. */
  static async open(deps: ExtractionDeps): Promise<Extraction> {
    const repairs = await deps.job.numberedFacts("repairs");
    const committed = new Map<number, TaskCommit>();
    for (const task of await deps.job.committedTasks()) {
      const commit = await deps.job.readCommit(task, taskCommit);
      if (commit !== undefined) committed.set(task, commit);
    }
    return new Extraction(deps, deps.listing.tasks + repairs.length, committed);
  }

  get complete(): boolean {
    return this.committed.size === this.tasks;
  }

  /** In the order of their tasks; repairs come after the tasks of the listing. */
  get commits(): readonly TaskCommit[] {
    return [...this.committed].sort(([a], [b]) => a - b).map(([, commit]) => commit);
  }

  /** A task for this worker, "done" once every task is committed, undefined while all are under way. @throws CodedError NUMERICS_PROFILE_MISMATCH */
  tryClaim(worker: string, profile: NumericsProfile): TaskClaim | undefined {
    if (canonicalJson(profile) !== canonicalJson(this.plan.featureSpec.profile)) {
      throw new CodedError(
        "NUMERICS_PROFILE_MISMATCH",
        `worker ${worker}: its numerics profile is ${canonicalJson(profile)}, job ${this.job.jobId} is pinned to ${canonicalJson(this.plan.featureSpec.profile)}; ` +
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
      await this.nextChange(Math.min(leftMs, this.leases.nextExpiryMs() ?? leftMs), signal);
    }
  }

  /** Who is at which task, for people. */
  get held(): LeaseTable["held"] {
    return this.leases.held;
  }

  /** Until a task may be claimed that cannot be now; undefined where only a change can bring one. */
  nextExpiryMs(): number | undefined {
    return this.leases.nextExpiryMs();
  }

  heartbeat(task: Lease, progress: TaskProgress): "kept" | "lost" {
    const renewed = this.leases.renew(task);
    if (renewed === "kept") this.underWay.set(task.lease, progress);
    else this.underWay.delete(task.lease);
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
    await this.features.append(commit.shards);
    const { outcome, value } = await this.job.commitTask(commit, taskCommit);
    this.committed.set(commit.task, value);
    this.leases.commit(commit.task);
    this.underWay.delete(lease);
    if (outcome === "created") this.extractedNow += commit.extracted;
    this.announceProgress();
    this.wake();
    return outcome === "created" ? "committed" : "already committed";
  }

  async release(lease: string, shards: readonly CommittedShard[]): Promise<void> {
    if (shards.length > 0) await this.features.append(shards);
    this.leases.release(lease);
    this.underWay.delete(lease);
    this.wake();
  }

  /** Resolves when every task is committed. */
  async done(signal: AbortSignal): Promise<void> {
    while (!this.complete) {
      signal.throwIfAborted();
      await this.nextChange(undefined, signal);
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
      const commit = await job.readCommit(task, taskCommit);
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

  private announceProgress(): void {
    const outcome = { extracted: 0, cached: 0, rejected: 0 };
    for (const { extracted, cached, rejected } of this.committed.values()) add(outcome, { extracted, cached, rejected: rejected.length });
    let extracting = this.extractedNow;
    for (const progress of this.underWay.values()) {
      add(outcome, progress);
      extracting += progress.extracted;
    }
    this.announce({
      kind: "extraction",
      done: outcome.extracted + outcome.cached + outcome.rejected,
      total: this.listing.pictures,
      cached: outcome.cached,
      rejected: outcome.rejected,
      imagesPerSecond: extracting / Math.max(this.seconds, 1e-3),
    });
  }

  private wake(): void {
    for (const resolve of this.changed) resolve();
    this.changed.clear();
    this.onChange();
  }

  /** Resolves with the next change, after `timeoutMs` where given, or when the signal aborts. */
  private async nextChange(timeoutMs: number | undefined, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const ended = AbortSignal.any([signal, over.signal]);
    let wake = (): void => undefined;
    const change = new Promise<void>((resolve) => (wake = resolve));
    this.changed.add(wake);
    signal.addEventListener("abort", wake, { once: true, signal: over.signal });
    if (signal.aborted) wake();
    const expiry = timeoutMs === undefined ? [] : [this.clock.sleep(timeoutMs, ended).catch(() => undefined)];
    await Promise.race([change, ...expiry]);
    this.changed.delete(wake);
    over.abort();
  }
}

function add(sum: { extracted: number; cached: number; rejected: number }, progress: TaskProgress): void {
  sum.extracted += progress.extracted;
  sum.cached += progress.cached;
  sum.rejected += progress.rejected;
}
