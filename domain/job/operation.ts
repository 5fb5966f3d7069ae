import { defaults } from "./defaults.js";
import { type FieldCheck, integer } from "./field-check.js";
import type { JobSpec, PodSpec } from "./spec.js";

/** What a spec says about a job's life rather than its result; all of it may change while the job stands. */
export interface Operation {
  /** Seconds from the start, or from the last time it was resumed, after which the job fails. */
  readonly activeDeadlineSeconds: number | undefined;
  /** Seconds after the end after which the job is deleted. */
  readonly ttlSecondsAfterFinished: number | undefined;
  /** Failures of workers that the job survives; undefined: what the place where it runs has as a default. */
  readonly backoffLimit: number | undefined;
  /** What becomes of the result when the job is deleted. */
  readonly deletionPolicy: "RETAIN" | "DELETE";
}

/** Failures of pods that a job survives where it does not say so itself: as many as make a fault of one node no fault of the job. */
export const defaultBackoffLimit = 3;

export function operationOf(spec: JobSpec): Operation {
  const { activeDeadlineSeconds, ttlSecondsAfterFinished, backoffLimit, deletionPolicy = defaults.deletionPolicy } = spec;
  return { activeDeadlineSeconds, ttlSecondsAfterFinished, backoffLimit, deletionPolicy };
}

export function checkOperation(spec: JobSpec, check: FieldCheck): void {
  check.optional("activeDeadlineSeconds", spec.activeDeadlineSeconds, integer(1));
  check.optional("ttlSecondsAfterFinished", spec.ttlSecondsAfterFinished, integer(0));
  check.optional("backoffLimit", spec.backoffLimit, integer(0));
  checkPod("extractors.pod", spec.extractors?.pod ?? {}, check);
  checkPod("trainers.pod", spec.trainers?.pod ?? {}, check);
}

/** What a job may not change in its pods, since graft itself stands on it: by the name's beginning. */
export const ownEnvironment = /^(GRAFT|NODE|LD)_/;
/** ServiceAccounts that a job may choose. */
export const workerServiceAccount = /^graft-[a-z0-9]([a-z0-9-]{0,56}[a-z0-9])?$/;

export function checkPod(path: string, pod: PodSpec, check: FieldCheck): void {
  for (const name of Object.keys(pod.env ?? {})) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || ownEnvironment.test(name))
      check.report(
        `${path}.env`,
        `must have names of letters, digits and "_" that do not begin with GRAFT_, NODE_ or LD_, found ${JSON.stringify(name.slice(0, 80))}`,
      );
  }
  const { serviceAccountName } = pod;
  if (serviceAccountName !== undefined && !workerServiceAccount.test(serviceAccountName))
    check.report(`${path}.serviceAccountName`, `must begin with "graft-", found ${JSON.stringify(serviceAccountName.slice(0, 80))}`);
}
