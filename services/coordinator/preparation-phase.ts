import type { JobRecord, ListingRecord, PlanRecord } from "../../domain/job/records.js";
import { listingRecord, planRecord } from "../../formats/job-records/job-records.js";
import { encodeListing, type ListingRow } from "../../formats/listing/listing.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { CoordinatorDeps } from "./coordinator-deps.js";
import type { JobProgress } from "./job-progress.js";
import { backboneWarnings, checkFeasible, pinPlan, type JobProfiles } from "./plan-job.js";
import { datasetChanged, scanJob } from "./scan-job.js";

/** How often a coordinator that waits for its first workers looks whether another one has planned the job. */
const PLAN_LOOK_MS = 5_000;

/** The phases before any picture is opened, Scanning and Planning: what is there, and how is it computed? */
export class PreparationPhase {
  private readonly job: JobObjects;
  private readonly deps: CoordinatorDeps;
  private readonly progress: JobProgress;

  constructor(job: JobObjects, deps: CoordinatorDeps, progress: JobProgress) {
    this.job = job;
    this.deps = deps;
    this.progress = progress;
  }

  /** Lists the dataset, once. A job that goes on first looks whether its dataset is still the one it listed. */
  async scan(record: JobRecord, signal: AbortSignal): Promise<ListingRecord> {
    const earlier = await this.job.readJson("listing/summary.json", listingRecord);
    // Workers notice pictures that changed since; a coordinator that is started anew in a cluster does not list millions again.
    if (earlier !== undefined && this.deps.workersOutlive) return earlier;
    const dataset = await this.deps.openDataset(record.job.dataset.source);
    const progress = (pictures: number): void => {
      this.progress.announce({ kind: "scan", pictures });
    };
    if (earlier !== undefined) {
      const now = await scanJob(dataset, async (_part, rows) => encodeListing(rows), progress, this.deps.clock, signal);
      if (now.digest !== earlier.digest) throw datasetChanged(earlier.source);
      return earlier;
    }
    // Another coordinator that took over may have listed it meanwhile: its listing stands, and no part of it is written again.
    let stands: ListingRecord | undefined;
    const write = async (part: number, rows: readonly ListingRow[]): Promise<Uint8Array> => {
      stands ??= await this.job.readJson("listing/summary.json", listingRecord);
      return stands === undefined ? this.job.writeListing(part, rows) : encodeListing(rows);
    };
    const listing = await scanJob(dataset, write, progress, this.deps.clock, signal);
    if (stands !== undefined) return stands;
    const { value } = await this.job.createJson("listing/summary.json", listing, listingRecord);
    this.deps.milestone("after scan");
    return value;
  }

  /** Writes down all that shapes the result, once: the backbone, the cut and the profiles of the first workers. */
  async plan(record: JobRecord, listing: ListingRecord, signal: AbortSignal): Promise<PlanRecord> {
    const earlier = await this.job.readJson("plan.json", planRecord);
    if (earlier !== undefined) return earlier;
    const { name, digest } = record.job.backbone;
    const { initialWeights } = record.job;
    const given = initialWeights.kind === "result" ? await this.deps.readWeights(initialWeights.from) : undefined;
    const profiles = await this.profilesOrPlan(signal);
    if ("cut" in profiles) return profiles;
    // Only now: a thousand jobs that wait for their first workers do not hold its weights a thousand times.
    const backbone = await this.deps.backbones.find(name, digest);
    const pinned = pinPlan(record.job, backbone, profiles);
    checkFeasible(record.job, backbone, pinned, listing, given, this.deps.memoryBytes);
    for (const warning of backboneWarnings(backbone, pinned)) this.progress.warn(warning);
    const plan: PlanRecord = {
      ...pinned,
      initialWeights:
        initialWeights.kind === "result" && given !== undefined
          ? { sha256: await this.job.writeInitialWeights(given), from: initialWeights.from }
          : null,
    };
    const { value } = await this.job.createJson("plan.json", plan, planRecord);
    this.deps.milestone("after plan");
    return value;
  }

  /**
   * The profiles of the first workers, or the plan that another coordinator has made with them meanwhile: one that this one took for dead may have woken, and its workers, who are busy with its tasks, would
   * never come to ask for one here.
   */
  private async profilesOrPlan(signal: AbortSignal): Promise<JobProfiles | PlanRecord> {
    const profiles = this.deps.profiles();
    for (;;) {
      const over = new AbortController();
      const look = this.deps.clock.sleep(PLAN_LOOK_MS, AbortSignal.any([signal, over.signal])).then(
        () => "look" as const,
        () => profiles,
      );
      const found = await Promise.race([profiles, look]).finally(() => over.abort());
      if (found !== "look") return found;
      const plan = await this.job.readJson("plan.json", planRecord);
      if (plan !== undefined) return plan;
    }
  }
}
