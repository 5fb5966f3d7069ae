import assert from "node:assert";
import { CodedError, errorCodes } from "../../domain/errors.js";
import type { Clock } from "../clock/clock.js";

/** How often and how long something is tried again. */
export interface RetryPolicy {
  /** Calls in all, the first one included. */
  readonly attemptsMax: number;
  /** Wait before the second call; each further one is twice as long. Half of it is drawn by lot, so that many workers do not come back at once. */
  readonly firstDelayMs: number;
  /** No wait is longer; absent where the bounds on attempts and time suffice. */
  readonly delayMsMax?: number;
  /** No further call begins later than this after the first one. */
  readonly totalMsMax: number;
}

export interface RetryDeps {
  readonly clock: Clock;
  /** Numbers in [0, 1), for the jitter. */
  readonly random: () => number;
  readonly signal?: AbortSignal;
}

/**
 * Calls `operation` until it succeeds, as long as it fails with a code that is marked retryable (domain/errors.ts) and the policy allows. Every other failure, and the last one, is thrown as it is.
 * The operation must be one that may be repeated.
 */
export async function retry<T>(policy: RetryPolicy, operation: () => Promise<T>, { clock, random, signal }: RetryDeps): Promise<T> {
  assert(policy.attemptsMax >= 1, `at least one attempt is needed, got ${policy.attemptsMax}`);
  const startMs = clock.monotonic();
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation();
    } catch (error) {
      if (attempt >= policy.attemptsMax || !isRetryable(error)) throw error;
      const longest = Math.min(policy.firstDelayMs * 2 ** (attempt - 1), policy.delayMsMax ?? Infinity);
      const delayMs = (longest * (1 + random())) / 2;
      if (clock.monotonic() - startMs + delayMs > policy.totalMsMax) throw error;
      await clock.sleep(delayMs, signal);
    }
  }
}

function isRetryable(error: unknown): boolean {
  return error instanceof CodedError && errorCodes[error.code].retryable;
}
