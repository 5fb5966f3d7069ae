import type { JobEvent } from "../../domain/job/events.js";
import type { Workers } from "../../domain/job/job.js";
import type { Milestone, PlanRecord } from "../../domain/job/records.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { JobStore } from "../../platform/job-store/job-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { JobLog } from "./job-log.js";
import type { JobProfiles } from "./plan-job.js";
import type { StatusBoard } from "./status.js";

/** What the coordinator of one job works with. */
export interface CoordinatorDeps {
  readonly store: ObjectStore;
  readonly jobs: JobStore;
  readonly backbones: BackboneStore;
  readonly openDataset: (source: string) => Promise<OpenedDataset>;
  readonly openFeatures: (plan: PlanRecord) => Promise<JobFeatures>;
  /** The profiles of the workers at hand; a job is pinned to them when it is planned. */
  readonly profiles: () => Promise<JobProfiles>;
  /** The bytes of the weights that a job's `initialWeights.fromResult` names. */
  readonly readWeights: (from: string) => Promise<Uint8Array>;
  readonly clock: Clock;
  /** Workers live on when this coordinator ends: what they are at is taken up. Otherwise they share its process. */
  readonly workersOutlive: boolean;
  /** Instead of the job's own: a run of one process that goes on with an earlier one may have others. */
  readonly trainers?: Workers;
  /** How long an extractor may be silent before its task is given to another; default limits.leaseMs. */
  readonly leaseMs?: number;
  /** Least silence after which a trainer is given up; default limits.stepDeadlineMsMin. */
  readonly stepDeadlineMs?: number;
  /** Failures that workers report and that the job survives; default limits.workerFailuresMax. */
  readonly workerFailuresMax?: number | undefined;
  /** What one worker may use. */
  readonly memoryBytes: number;
  readonly newKey: () => Uint8Array;
  readonly announce: (jobId: string, event: JobEvent) => void;
  readonly milestone: (milestone: Milestone) => void;
  /** Where this job's events are kept. */
  readonly log?: JobLog;
  /** Where the job's status is kept, for a job that outlives this object. */
  readonly status?: StatusBoard;
  /** A worker may find something to do. */
  readonly onChange?: () => void;
}
