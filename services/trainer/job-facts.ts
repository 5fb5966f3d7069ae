import { CodedError } from "../../domain/errors.js";
import type { JobRecord, PlanRecord, SamplesRecord } from "../../domain/job/records.js";
import { jobRecord, planRecord, samplesRecord } from "../../formats/job-records/job-records.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";

/** What a trainer needs to know of its job; all of it was written before training began. */
export interface JobFacts {
  readonly record: JobRecord;
  readonly plan: PlanRecord;
  readonly samples: SamplesRecord;
}

export async function readFacts(job: JobObjects): Promise<JobFacts> {
  const [record, plan, samples] = await Promise.all([
    job.readJson("spec.json", jobRecord),
    job.readJson("plan.json", planRecord),
    job.readJson("samples/summary.json", samplesRecord),
  ]);
  if (record === undefined || plan === undefined || samples === undefined) {
    throw new CodedError(
      "OBJECT_MISSING",
      `${job.keyOf("")}: spec.json, plan.json and samples/summary.json are written before training begins, and one is gone; run the job anew`,
    );
  }
  return { record, plan, samples };
}
