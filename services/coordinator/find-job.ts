import { CodedError } from "../../domain/errors.js";
import type { JobReference } from "../../platform/job-service/job-service.js";
import type { Jobs, KnownJob } from "./jobs.js";

/** The job that a reference means: the one of that id, else the newest of that name; where it names a namespace, only one of that. */
export function findJob(jobs: Jobs, { namespace, name }: JobReference): KnownJob | undefined {
  const isMeant = (job: KnownJob): boolean => namespace === undefined || namespaceOf(job) === namespace;
  const byId = jobs.get(name);
  if (byId !== undefined && isMeant(byId)) return byId;
  return jobs.all.filter((job) => job.record.name === name && isMeant(job)).sort((a, b) => b.record.submittedMs - a.record.submittedMs)[0];
}

/** Undefined where jobs have none. */
export function namespaceOf({ record }: KnownJob): string | undefined {
  return record.request?.metadata.namespace;
}

/** The same for a job that there is not and for one that the caller may not know of. */
export function jobNotFound({ name }: JobReference): CodedError {
  return new CodedError("JOB_NOT_FOUND", `there is no job ${JSON.stringify(name)}; "graft get" lists the jobs`);
}
