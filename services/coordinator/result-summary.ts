import type { JobResultSummary } from "../../domain/job/resource.js";
import { resultRecord } from "../../formats/job-records/job-records.js";
import { parseJson } from "../../formats/json/json.js";
import { type Metrics, noSplit } from "../../formats/metrics/metrics.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";

/** What the result is, for the status: read back from its metrics. */
export async function resultSummary(job: JobObjects, storeLocation: string): Promise<JobResultSummary> {
  const { weightsSha256 } = (await job.readJson("result.json", resultRecord))!;
  const metrics = await job.readResult("metrics.json");
  const { accuracy, count } = metrics === undefined ? noSplit : (parseJson(metrics, job.keyOf("result/metrics.json")) as Metrics).test;
  return {
    location: `${storeLocation}/${job.keyOf("result")}`,
    weightsSha256,
    ...(accuracy !== null && { testAccuracy: accuracy }),
    ...(count !== null && { testCount: count }),
  };
}
