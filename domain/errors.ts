/**
 * Every failure that graft expects, in one closed list. Each edge maps it once: the CLI to an exit code, gRPC to a status, Kubernetes to a condition reason.
 * A retryable code names a passing state of something outside; the others fail the same way again.
 */
export const errorCodes = {
  // What the user gave.
  SPEC_INVALID: { retryable: false, exitCode: 2 },
  USAGE_INVALID: { retryable: false, exitCode: 2 },
  REQUEST_INVALID: { retryable: false, exitCode: 2 },
  CONFIG_INVALID: { retryable: false, exitCode: 2 },
  JOB_NOT_FOUND: { retryable: false, exitCode: 3 },
  JOB_EXISTS: { retryable: false, exitCode: 3 },
  JOB_NOT_COMPLETE: { retryable: false, exitCode: 3 },
  DATASET_NOT_FOUND: { retryable: false, exitCode: 3 },
  DATASET_UNREADABLE: { retryable: true, exitCode: 3 },
  DATASET_INVALID: { retryable: false, exitCode: 3 },
  DATASET_CHANGED: { retryable: false, exitCode: 3 },
  TOO_MANY_REJECTED: { retryable: false, exitCode: 3 },
  BACKBONE_UNKNOWN: { retryable: false, exitCode: 3 },
  WEIGHTS_INVALID: { retryable: false, exitCode: 3 },
  FILE_FORMAT_INVALID: { retryable: false, exitCode: 3 },
  CUT_ILLEGAL: { retryable: false, exitCode: 3 },
  NETWORK_INVALID: { retryable: false, exitCode: 3 },
  JOB_TOO_LARGE: { retryable: false, exitCode: 3 },
  // What happened while it ran.
  TRAINING_DIVERGED: { retryable: false, exitCode: 4 },
  ACCURACY_TOO_LOW: { retryable: false, exitCode: 4 },
  TRAINERS_DIVERGED: { retryable: false, exitCode: 5 },
  EXCHANGE_INCOMPLETE: { retryable: true, exitCode: 5 },
  LEASE_LOST: { retryable: false, exitCode: 5 },
  JOB_TRANSITION_ILLEGAL: { retryable: false, exitCode: 5 },
  GENERATION_STALE: { retryable: false, exitCode: 5 },
  NUMERICS_PROFILE_MISMATCH: { retryable: false, exitCode: 5 },
  DEADLINE_EXCEEDED: { retryable: false, exitCode: 5 },
  BACKOFF_LIMIT_EXCEEDED: { retryable: false, exitCode: 5 },
  WORKER_OUT_OF_MEMORY: { retryable: false, exitCode: 5 },
  WORKERS_UNSCHEDULABLE: { retryable: false, exitCode: 5 },
  IMAGE_PULL_FAILED: { retryable: false, exitCode: 5 },
  WORKERS_NOT_STARTED: { retryable: false, exitCode: 5 },
  // What it runs on.
  SERVER_UNAVAILABLE: { retryable: true, exitCode: 6 },
  BUS_UNAVAILABLE: { retryable: true, exitCode: 6 },
  ACCESS_DENIED: { retryable: false, exitCode: 6 },
  CLUSTER_UNAVAILABLE: { retryable: true, exitCode: 6 },
  CLUSTER_CONFLICT: { retryable: true, exitCode: 6 },
  CLUSTER_NOT_FOUND: { retryable: false, exitCode: 6 },
  CLUSTER_REFUSED: { retryable: false, exitCode: 6 },
  CONTRACT_MISMATCH: { retryable: false, exitCode: 6 },
  ENGINE_UNAVAILABLE: { retryable: false, exitCode: 6 },
  ENGINE_UNSUPPORTED: { retryable: false, exitCode: 6 },
  STORE_FULL: { retryable: false, exitCode: 7 },
  STORE_UNAVAILABLE: { retryable: true, exitCode: 7 },
  STORE_NOT_FOUND: { retryable: false, exitCode: 7 },
  STORE_FORMAT_NEWER: { retryable: false, exitCode: 7 },
  OBJECT_CORRUPT: { retryable: false, exitCode: 7 },
  OBJECT_MISSING: { retryable: false, exitCode: 7 },
  INTERRUPTED: { retryable: false, exitCode: 130 },
} as const satisfies Record<string, { retryable: boolean; exitCode: number }>;

export type ErrorCode = keyof typeof errorCodes;

/** Whether a job that meets this failure has failed for good. What it runs on (a full disk, an engine, a store) can be mended: then the job stays where it is and goes on. */
export function endsJob(code: ErrorCode): boolean {
  const { retryable, exitCode } = errorCodes[code];
  return !retryable && exitCode <= 5;
}

/** Whether it is a worker alone that met this failure: it came too late or does not fit, and the job goes on without it. */
export function isWorkersOwn(code: ErrorCode): boolean {
  return (["LEASE_LOST", "GENERATION_STALE", "NUMERICS_PROFILE_MISMATCH", "JOB_TRANSITION_ILLEGAL"] as ErrorCode[]).includes(code);
}

/** An expected failure. The message says which thing, what was expected, what was found and what to do. */
export class CodedError extends Error {
  override readonly name = "CodedError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}
