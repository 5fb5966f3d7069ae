import { CodedError } from "../../domain/errors.js";
import { domainPrefix } from "../../domain/features/cache-domain.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { IMAGE_ID_BYTES, imageIdAt } from "../../domain/features/image-ids.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { CommittedShard, JobRecord, ListingRecord, PlanRecord, SamplesRecord, TaskCommit } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { samplesRecord, commitRecord } from "../../formats/job-records/job-records.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { LeasedTask, TaskClaim, TaskProgress } from "../../platform/work-service/work-service.js";
import { collectSamples, warningsOf } from "./collect-samples.js";
import type { CoordinatorDeps } from "./coordinator-deps.js";
import { Extraction } from "./extraction.js";
import { Gate } from "./gate.js";
import type { JobProgress } from "./job-progress.js";
import type { StatusBoard } from "./status.js";

/** The phase Extracting, from the plan to the sample table, and what extractors ask meanwhile. It comes again where features turn out to be damaged, with an `Extraction` of its own each time. */
export class ExtractionPhase {
  private readonly job: JobObjects;
  private readonly deps: CoordinatorDeps;
  private readonly progress: JobProgress;
  private readonly status: StatusBoard;
  private readonly extracting = new Gate<Extraction>();
  private signal: AbortSignal = AbortSignal.abort(new Error("extract has not been called"));

  constructor(job: JobObjects, deps: CoordinatorDeps, progress: JobProgress) {
    this.job = job;
    this.deps = deps;
    this.progress = progress;
    this.status = progress.status;
  }

  get current(): Extraction | undefined {
    return this.extracting.current;
  }

  /** Gives out the tasks that have no commit yet; resolves with the sample table when all have one. */
  async extract(record: JobRecord, listing: ListingRecord, plan: PlanRecord, signal: AbortSignal): Promise<SamplesRecord> {
    this.signal = signal;
    const features = await this.deps.openFeatures(plan);
    const extraction = await Extraction.open({
      job: this.job,
      plan,
      listing,
      features,
      clock: this.deps.clock,
      ...(this.deps.leaseMs !== undefined && { leaseMs: this.deps.leaseMs }),
      announce: (event) => this.progress.announce(event),
      onChange: () => this.deps.onChange?.(),
    });
    await this.status.update({ pictures: listing.pictures, tasks: extraction.tasks, tasksCommitted: extraction.committed.size });
    this.extracting.open(extraction);
    this.deps.onChange?.(); // extractors that asked before there was a task
    await extraction.done(signal);
    for (const problem of features.problems) this.progress.warn(problem);
    const earlier = await this.job.readJson("samples/summary.json", samplesRecord);
    const samples = earlier ?? (await collectSamples(this.job, record.job.dataset, listing, extraction, this.deps.clock, signal));
    for (const warning of warningsOf(samples)) this.progress.warn(warning);
    this.deps.milestone("after samples");
    return samples;
  }

  /** Adds a task for pictures whose features are gone. @throws CodedError OBJECT_CORRUPT where that does not help */
  async repair(listing: ListingRecord, plan: PlanRecord, missing: readonly ImageId[], round: number): Promise<void> {
    const lost = new Set(missing);
    const pictures = round < limits.repairRounds ? await Extraction.repair(this.job, listing, (id) => lost.has(imageIdAt(id, 0))) : 0;
    if (pictures === 0) {
      throw new CodedError(
        "OBJECT_CORRUPT",
        `${domainPrefix(plan.domain)}features/${plan.featureSpecDigest} in ${this.deps.store.location}: the features of ${String(missing.length)} pictures are damaged, and extracting them again did not help; check the store's disk, then run again`,
      );
    }
    this.progress.warn(`${String(pictures)} pictures are extracted again: their features were damaged and are quarantined`);
    await this.status.update({ picturesLost: pictures });
  }

  /** Nothing will be given out any more. */
  close(): void {
    this.extracting.close();
  }

  // ---- what extractors ask ----

  async claimTask(worker: string, profile: NumericsProfile): Promise<TaskClaim> {
    const extraction = await this.extracting.next(undefined);
    if (extraction === "closed") return { kind: "done" };
    const claim = await extraction.claim(worker, profile, this.signal);
    if (claim.kind !== "done") return claim;
    // Nothing left in this round; there is another only if features turn out to be damaged.
    return (await this.extracting.next(extraction)) === "closed" ? { kind: "done" } : this.claimTask(worker, profile);
  }

  /** The first pictures that turned out to be none. */
  async rejectedPictures(count: number): Promise<{ readonly uri: string; readonly reason: string }[]> {
    const found: { uri: string; reason: string }[] = [];
    const committed = [...(this.extracting.current?.committed ?? [])].filter(([, { rejected }]) => rejected > 0);
    for (const [task] of committed.sort(([a], [b]) => a - b)) {
      if (found.length >= count) break;
      const pictures = await this.job.readListing(task);
      for (const { row, reason } of (await this.job.readCommit(task, commitRecord))?.rejected ?? [])
        found.push({ uri: pictures[row]?.uri ?? `row ${String(row)} of task ${String(task)}`, reason });
    }
    return found.slice(0, count);
  }

  /** A task, if there is one for this worker right now. @throws CodedError NUMERICS_PROFILE_MISMATCH */
  tryClaim(worker: string, profile: NumericsProfile): TaskClaim | undefined {
    const claim = this.extracting.current?.tryClaim(worker, profile);
    return claim?.kind === "done" ? undefined : claim;
  }

  async heartbeatTask(task: LeasedTask, progress: TaskProgress): Promise<"kept" | "lost"> {
    const extraction = this.extracting.current;
    if (extraction !== undefined) return extraction.heartbeat(task, progress);
    // A coordinator that has only begun has not opened the job's extraction yet.
    return this.deps.workersOutlive && this.isBeforeExtraction ? "kept" : "lost";
  }

  async lookupFeatures(_task: LeasedTask, imageIds: Uint8Array, view: number): Promise<Uint8Array> {
    return this.extracting.current?.lookup(imageIds, view) ?? new Uint8Array(imageIds.length / IMAGE_ID_BYTES);
  }

  async commitTask({ lease }: LeasedTask, commit: TaskCommit): Promise<"committed" | "already committed"> {
    const extraction = this.isBeforeExtraction ? await this.extracting.next(undefined) : this.extracting.current;
    if (extraction === undefined || extraction === "closed")
      throw new CodedError(
        "LEASE_LOST",
        `job ${this.job.jobId} is ${this.status.state.phase}: it takes no commits now; what was written is kept`,
      );
    const outcome = await extraction.commit(lease, commit);
    this.deps.milestone("after commit");
    // The commit stands; the status, which only shows it, is written by and by.
    void this.status.update({ tasksCommitted: extraction.committed.size }).catch(() => undefined);
    return outcome;
  }

  async appendShards(_task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    const extraction = this.isBeforeExtraction ? await this.extracting.next(undefined) : this.extracting.current;
    if (extraction !== "closed") await extraction?.append(shards);
  }

  async releaseTask({ lease }: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    const extraction = this.isBeforeExtraction ? await this.extracting.next(undefined) : this.extracting.current;
    if (extraction !== "closed") await extraction?.release(lease, shards);
  }

  private get isBeforeExtraction(): boolean {
    return ["Pending", "Scanning", "Planning"].includes(this.status.state.phase);
  }
}
