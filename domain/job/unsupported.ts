import type { Problem } from "./problems.js";
import type { JobSpec } from "./spec.js";

/** What carries a job out: one process that ends with it, or a coordinator that people can ask. */
export type JobRunner = "process" | "coordinator";

/**
 * Fields that the contract has and that this version does not carry out yet: each is refused where it asks for something, never ignored.
 * What implements a field takes its line out.
 */
const rows: readonly (readonly [path: string, asked: (spec: JobSpec) => unknown, advice?: string])[] = [
  ["dataset.credentialsSecret", (spec) => spec.dataset?.credentialsSecret !== undefined],
  ["extractors.pod", (spec) => spec.extractors?.pod],
  ["trainers.pod", (spec) => spec.trainers?.pod],
  ["activeDeadlineSeconds", (spec) => spec.activeDeadlineSeconds !== undefined],
  ["ttlSecondsAfterFinished", (spec) => spec.ttlSecondsAfterFinished !== undefined],
  ["backoffLimit", (spec) => spec.backoffLimit !== undefined],
  ["deletionPolicy", (spec) => spec.deletionPolicy === "DELETE", "use RETAIN"],
];

/** What of `spec` this version does not support, at all or where one process runs the job. */
export function unsupportedFields(spec: JobSpec, runner: JobRunner): Problem[] {
  const problems = rows
    .filter(([, asked]) => Boolean(asked(spec)))
    .map(([path, , advice]) => ({ path, message: `not supported in this version; ${advice ?? "leave it out"}` }));
  if (spec.suspend === true && runner === "process")
    problems.push({
      path: "suspend",
      message:
        'not supported where one process runs the job, which nobody could resume; leave it out, or give the job to a server with "graft submit"',
    });
  return problems;
}
