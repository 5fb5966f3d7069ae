import { CodedError } from "../../domain/errors.js";
import type {
  CommitRecord,
  GenerationRecord,
  JobEventRecord,
  JobRequestRecord,
  JobRecord,
  ListingRecord,
  PlanRecord,
  RepairRecord,
  ResultRecord,
  SamplesRecord,
  WorkerEndRecord,
} from "../../domain/job/records.js";

import type { JobStatus } from "../../domain/job/status.js";

/** Checks of the JSON objects of a job (domain/job/records.ts) when they are read back. graft wrote them, so version and outline are enough to tell a foreign or damaged one. */
export const jobRecord = recordCheck<JobRecord>("spec.json", ["requestId", "name", "job"]);
export const listingRecord = recordCheck<ListingRecord>("listing/summary.json", ["pictures", "tasks", "digest", "classes", "counts"]);
export const planRecord = recordCheck<PlanRecord>("plan.json", ["backbone", "featureSpec", "featureSpecDigest", "trainingProfile"]);
export const commitRecord = recordCheck<CommitRecord>("commit", ["task", "imageIds", "rejected"]);
export const samplesRecord = recordCheck<SamplesRecord>("samples/summary.json", [
  "digest",
  "rows",
  "parts",
  "classes",
  "counts",
  "extraction",
]);
export const generationRecord = recordCheck<GenerationRecord>("generation", ["generation", "trainers", "startStep"]);
export const repairRecord = recordCheck<RepairRecord>("repair", ["task", "pictures"]);
export const jobEventRecord = recordCheck<JobEventRecord>("log entry", ["timeMs", "kind", "message"]);
export const jobRequestRecord = recordCheck<JobRequestRecord>("request", ["timeMs", "action"]);
export const workerEndRecord = recordCheck<WorkerEndRecord>("worker", ["worker", "role", "end"]);
export const jobStatus = recordCheck<JobStatus>("status.json", ["phase", "suspended"]);
export const resultRecord = recordCheck<ResultRecord>("result.json", ["weightsSha256"]);

function recordCheck<T extends { readonly formatVersion: 1 }>(what: string, fields: readonly (keyof T & string)[]): (value: unknown) => T {
  return (value) => {
    const record = (value ?? {}) as Readonly<Record<string, unknown>>;
    const version = record["formatVersion"];
    if (typeof version === "number" && version > 1) {
      throw new CodedError(
        "STORE_FORMAT_NEWER",
        `${what}: format version ${String(version)}, this graft reads version 1; use a newer graft`,
        { version },
      );
    }
    const missing = ["formatVersion", ...fields].filter((field) => record[field] === undefined);
    if (missing.length > 0) throw new Error(`${what}: expected the fields ${missing.join(", ")}`);
    return value as T;
  };
}
