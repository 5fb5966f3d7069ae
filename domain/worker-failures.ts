import { errorCodes, type ErrorCode } from "./errors.js";

/** Failures that do not pass and yet are the dataset's, the task's or the job's, not the process's: by their exit codes, and by name. */
const outlived = {
  extractor: { exitCodes: [errorCodes.DATASET_INVALID.exitCode], codes: ["LEASE_LOST", "OBJECT_MISSING", "OBJECT_CORRUPT"] },
  trainer: {
    exitCodes: [
      errorCodes.SPEC_INVALID.exitCode,
      errorCodes.DATASET_INVALID.exitCode,
      errorCodes.TRAINING_DIVERGED.exitCode,
      errorCodes.TRAINERS_DIVERGED.exitCode,
    ],
    codes: ["OBJECT_MISSING", "OBJECT_CORRUPT"],
  },
} as const satisfies Record<string, { readonly exitCodes: readonly number[]; readonly codes: readonly ErrorCode[] }>;

/** Whether a worker's process goes on after this failure: what passes, or is wrong with a dataset or a job, does not make it useless. Any other ends it. */
export function isWorthAnotherTry(worker: keyof typeof outlived, code: ErrorCode): boolean {
  const { retryable, exitCode } = errorCodes[code];
  const exitCodes: readonly number[] = outlived[worker].exitCodes;
  const codes: readonly ErrorCode[] = outlived[worker].codes;
  return retryable || exitCodes.includes(exitCode) || codes.includes(code);
}
