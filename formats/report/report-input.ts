import type { SamplesRecord } from "../../domain/job/records.js";
import type { Metrics } from "../metrics/metrics.js";
import type { Passport } from "../passport/passport.js";

export interface ReportInput {
  /** Name of the job or of the folder of pictures. */
  readonly title: string;
  readonly passport: Passport;
  readonly metrics: Metrics;
  /** One per evaluation, in the order of steps. */
  readonly history: readonly CurvePoint[];
  /** Of the split that `metrics.perClass` names: `[true][predicted]` in the order of `metrics.classes`. Null where there is none. */
  readonly confusion: readonly (readonly number[])[] | null;
  /** A few pictures of every class, in the order of the classes; at most eight of each are shown. */
  readonly pictures: readonly { readonly label: string; readonly pictures: readonly Picture[] }[];
  /** Of the same split as `confusion`; at most fifty are shown. */
  readonly misclassified: readonly MisclassifiedPicture[];
  /** How many were misclassified in all. */
  readonly misclassifiedCount: number;
  readonly samples: Pick<
    SamplesRecord,
    "rejectedCount" | "rejected" | "duplicateCount" | "conflictCount" | "conflicts" | "splitConflictCount"
  >;
  readonly seconds: { readonly total: number; readonly extraction: number; readonly training: number };
  /** Folder of the exported files, as the user would type it. */
  readonly out: string;
}

/** One evaluation, as the curves show it. */
export interface CurvePoint {
  readonly step: number;
  /** Null before the first step. */
  readonly train: { readonly loss: number; readonly accuracy: number } | null;
  readonly validation: { readonly loss: number; readonly accuracy: number } | undefined;
}

export interface Picture {
  readonly uri: string;
  /** A small JPEG; undefined where none was kept. */
  readonly thumbnail: Uint8Array | undefined;
}

export interface MisclassifiedPicture extends Picture {
  readonly label: string;
  readonly predicted: string;
  /** Of the predicted class. */
  readonly probability: number;
}
