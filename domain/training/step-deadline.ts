import { limits } from "../limits.js";

/**
 * How long a trainer may stay silent before the others go on without it: five of its steps, within bounds. A step of a large network blocks its trainer's thread for seconds;
 * before its length is known, the longest is allowed.
 */
export function stepDeadlineMs(millisecondsPerStep: number | null, leastMs: number = limits.stepDeadlineMsMin): number {
  if (millisecondsPerStep === null) return limits.exchangeDeadlineMs;
  return Math.min(limits.exchangeDeadlineMs, Math.max(leastMs, 5 * millisecondsPerStep));
}
