import type { Problem } from "./problems.js";
import type { JobSpec } from "./spec.js";

/**
 * Fields that the contract has and that this version does not carry out yet: each is refused where it asks for something, never ignored.
 * What implements a field takes its line out.
 */
const rows: readonly (readonly [path: string, asked: (spec: JobSpec) => unknown, advice?: string])[] = [
  ["dataset.credentialsSecret", (spec) => spec.dataset?.credentialsSecret !== undefined],
  ["numericsProfile", (spec) => spec.numericsProfile === "ANY", "use PINNED"],
  ["cacheDomain", (spec) => spec.cacheDomain],
  ["extractors.pod", (spec) => spec.extractors?.pod],
  ["trainers.pod", (spec) => spec.trainers?.pod],
  ["suspend", (spec) => spec.suspend],
  ["activeDeadlineSeconds", (spec) => spec.activeDeadlineSeconds !== undefined],
  ["ttlSecondsAfterFinished", (spec) => spec.ttlSecondsAfterFinished !== undefined],
  ["backoffLimit", (spec) => spec.backoffLimit !== undefined],
  ["deletionPolicy", (spec) => spec.deletionPolicy === "DELETE", "use RETAIN"],
];

/** What of `spec` this version does not support. */
export function unsupportedFields(spec: JobSpec): Problem[] {
  return rows
    .filter(([, asked]) => Boolean(asked(spec)))
    .map(([path, , advice]) => ({ path, message: `not supported in this version; ${advice ?? "leave it out"}` }));
}
