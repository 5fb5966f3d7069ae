import type { Problem } from "./problems.js";
import type { JobSpec } from "./spec.js";

/** What carries a job out: one process that ends with it, a coordinator that people can ask, or one that has a cluster's pods for workers. */
export type JobRunner = "process" | "coordinator" | "kubernetes";

/** Fields that mean something only to some runners: each is refused by the others where it asks for something, never ignored. */
const rows: readonly (readonly [path: string, runners: readonly JobRunner[], asked: (spec: JobSpec) => unknown])[] = [
  ["dataset.credentialsSecret", ["kubernetes"], (spec) => spec.dataset?.credentialsSecret !== undefined],
  ["extractors.pod", ["kubernetes"], (spec) => spec.extractors?.pod],
  ["trainers.pod", ["kubernetes"], (spec) => spec.trainers?.pod],
  ["suspend", ["coordinator", "kubernetes"], (spec) => spec.suspend],
  ["activeDeadlineSeconds", ["coordinator", "kubernetes"], (spec) => spec.activeDeadlineSeconds !== undefined],
  ["ttlSecondsAfterFinished", ["coordinator", "kubernetes"], (spec) => spec.ttlSecondsAfterFinished !== undefined],
  ["backoffLimit", ["coordinator", "kubernetes"], (spec) => spec.backoffLimit !== undefined],
  ["deletionPolicy", ["coordinator", "kubernetes"], (spec) => spec.deletionPolicy === "DELETE"],
];

const only: Readonly<Record<JobRunner, string>> = {
  process: 'where one process runs the job; leave it out, or give the job to a server with "graft submit"',
  coordinator: "by a server outside Kubernetes; leave it out",
  kubernetes: "on Kubernetes; leave it out",
};

/** What of `spec` means nothing where `runner` carries it out. */
export function unsupportedFields(spec: JobSpec, runner: JobRunner): Problem[] {
  return rows
    .filter(([, runners, asked]) => !runners.includes(runner) && Boolean(asked(spec)))
    .map(([path]) => ({ path, message: `not supported ${only[runner]}` }));
}
