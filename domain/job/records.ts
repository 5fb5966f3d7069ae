import type { FeatureSpec } from "../features/feature-spec.js";
import type { Shape } from "../network/network.js";
import type { NumericsProfile } from "../features/numerics-profile.js";
import type { SplitCounts } from "./expected-counts.js";
import type { ResolvedJob } from "./job.js";
import type { JobMetadata } from "./resource.js";
import type { JobSpec } from "./spec.js";
import type { ClassCount, SplitName } from "../dataset/listing.js";

/** The facts of a job as JSON objects under `jobs/<id>/`. Each is written once, by create-if-absent; the job's status is a projection of them. */

/** `spec.json`: what was asked for. */
export interface JobRecord {
  readonly formatVersion: 1;
  readonly requestId: string;
  /** Shown to people: the job's name, or the folder's. */
  readonly name: string;
  /** Where the user wants the result, as the user wrote it; for the report's text only. */
  readonly out: string;
  readonly submittedMs: number;
  readonly job: ResolvedJob;
  /** The request as it was made, of a job that was submitted to a server. */
  readonly request?: { readonly metadata: JobMetadata; readonly spec: JobSpec };
}

/** `listing/summary.json`: what the scan found. */
export interface ListingRecord {
  readonly formatVersion: 1;
  readonly source: string;
  readonly pictures: number;
  /** Number of listing parts; one task each. */
  readonly tasks: number;
  /** Pictures of every part but the last. */
  readonly taskPictures: number;
  /** SHA-256 over the bytes of all parts: a later scan of an unchanged dataset gives the same. */
  readonly digest: string;
  readonly classes: readonly string[];
  /** Pictures of each class, in the order of `classes`. */
  readonly counts: readonly ClassCount[];
  readonly givenSplits: readonly SplitName[];
  readonly ignoredCount: number;
  readonly ignored: readonly { readonly path: string; readonly reason: string }[];
}

/** `plan.json`: everything that shapes the result and is known before extraction. */
export interface PlanRecord {
  readonly formatVersion: 1;
  readonly backbone: { readonly name: string; readonly digest: string };
  readonly cut: string;
  readonly featureSpec: FeatureSpec;
  readonly featureSpecDigest: string;
  readonly featureShape: Shape;
  /** What the features of views 1 to `views` - 1 depend on; null where pictures are used as they are. */
  readonly viewSpec: FeatureSpec | null;
  readonly views: number;
  /** Whose features and identities the job works with, as `ResolvedJob.cacheDomain`; absent in old records, which have none. */
  readonly domain?: string;
  readonly trainingProfile: NumericsProfile;
  /** The tensors that training starts from, `initial-weights/<sha256>.safetensors` beside this record; null where the job names none. */
  readonly initialWeights: { readonly sha256: string; readonly from: string } | null;
}

/** A shard and the rows in it, as the feature index records it. */
export interface CommittedShard {
  readonly sha256: string;
  readonly bytes: number;
  readonly view: number;
  readonly rows: number;
  /** Image ids of the rows, 32 bytes each, in base64. */
  readonly imageIds: string;
  /** SHA-256 of the object with the rows' thumbnails. */
  readonly thumbnails: string | null;
}

/** `commits/<task>.json`: what became of every picture of one task. Where its features lie the feature index says. */
export interface CommitRecord {
  readonly formatVersion: 1;
  readonly task: number;
  readonly worker: string;
  /** One image id per picture of the listing part, 32 bytes each, in base64; zeros for rejected pictures. */
  readonly imageIds: string;
  readonly rejected: readonly { readonly row: number; readonly reason: string }[];
  readonly extracted: number;
  readonly cached: number;
}

/** What a worker hands in for a task. */
export interface TaskCommit extends CommitRecord {
  /** Written by this worker, but for those that went ahead of the commit; all of them come into the feature index before the commit is recorded. */
  readonly shards: readonly CommittedShard[];
}

/** `samples/summary.json`: the sample table in numbers, and what of the recipe follows from it. */
export interface SamplesRecord {
  readonly formatVersion: 1;
  /** SHA-256 over image ids, labels and splits of all rows. */
  readonly digest: string;
  readonly rows: number;
  readonly parts: number;
  readonly classes: readonly string[];
  /** Rows per class, in the order of `classes`. */
  readonly counts: SplitCounts;
  readonly rejectedCount: number;
  readonly rejected: readonly { readonly uri: string; readonly reason: string }[];
  readonly duplicateCount: number;
  readonly conflictCount: number;
  /** Pictures with one content and two labels, left out; the first hundred. */
  readonly conflicts: readonly { readonly imageId: string; readonly uris: readonly string[] }[];
  readonly splitConflictCount: number;
  readonly extraction: {
    readonly extracted: number;
    readonly cached: number;
    /** Null where nothing was extracted. */
    readonly imagesPerSecond: number | null;
    readonly seconds: number;
    /** Tasks that each extractor committed. */
    readonly workers: Readonly<Record<string, number>>;
  };
}

/** `result.json`: the result under `result/` is whole. */
export interface ResultRecord {
  readonly formatVersion: 1;
  readonly weightsSha256: string;
}

/** `workers/<uid>.json`: how a worker's pod ended, on Kubernetes. */
export interface WorkerEndRecord {
  readonly formatVersion: 1;
  readonly timeMs: number;
  readonly worker: string;
  readonly role: "extractor" | "trainer";
  readonly end: "done" | "interrupted" | "failed" | "outOfMemory";
  readonly message: string;
}

/** `generations/<n>.json`: one membership of the trainers. */
export interface GenerationRecord {
  readonly formatVersion: 1;
  readonly generation: number;
  /** In the order of their ranks. */
  readonly trainers: readonly string[];
  /** The state that they start from is that after so many steps. */
  readonly startStep: number;
  /** Who of them writes it as a checkpoint for the others; null where none is needed. */
  readonly stateWriter: string | null;
}

/** `repairs/<n>.json`: tasks added after the listing's, because features that were kept turned out to be corrupt. */
export interface RepairRecord {
  readonly formatVersion: 1;
  readonly task: number;
  readonly pictures: number;
}

/** `log/<n>.json`: something that happened to a job. */
export interface JobEventRecord {
  readonly formatVersion: 1;
  readonly timeMs: number;
  readonly kind: string;
  readonly message: string;
}

/** `requests/<n>.json`: what was asked of a job after it was submitted; the last one of a kind counts. */
export interface JobRequestRecord {
  readonly formatVersion: 1;
  readonly timeMs: number;
  readonly action: "suspend" | "resume" | "cancel";
}

/** A point of a job's life at which tests end the process: nothing may be lost there. Listed once, so that a test can try each. */
export const milestones = [
  "after scan",
  "after plan",
  "after claim",
  "mid batch",
  "after shard put",
  "after commit",
  "after samples",
  "mid exchange",
  "between updates",
  "before checkpoint",
  "after checkpoint",
  "after evaluation",
  "mid export",
  "after result",
] as const;

export type Milestone = (typeof milestones)[number];
