import { CodedError } from "../../domain/errors.js";
import type { JobReference } from "../../platform/job-service/job-service.js";
import { type Jobs, type KnownJob, namespaceOf } from "./jobs.js";

/**
 * The job that a reference means: the one of that id, else the newest of that name, in the namespace that it names. Without one: by name in `home`, by id in all.
 * `home` undefined: jobs have no namespaces, whatever a reference says.
 */
export function findJob(jobs: Jobs, { namespace, name }: JobReference, home: string | undefined): KnownJob | undefined {
  const where = home === undefined ? undefined : (namespace ?? home);
  const isThere = ({ record }: KnownJob): boolean => where === undefined || namespaceOf(record) === where;
  const byId = jobs.get(name);
  if (byId !== undefined && isThere(byId)) return byId;
  const [newest] = jobs.all
    .filter((job) => job.record.name === name && isThere(job))
    .sort((a, b) => b.record.submittedMs - a.record.submittedMs);
  return newest ?? (namespace === undefined ? byId : undefined);
}

/** The same for a job that there is not and for one that the caller may not know of. */
export function jobNotFound({ namespace, name }: JobReference, home: string | undefined): CodedError {
  const where = home === undefined ? "" : ` in namespace ${namespace ?? home}`;
  return new CodedError("JOB_NOT_FOUND", `there is no job ${JSON.stringify(name)}${where}; "graft get" lists the jobs`);
}
