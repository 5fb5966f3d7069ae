import type { Clock } from "../../platform/clock/clock.js";

/** A clock that only sleeping moves. `onSleep` may make a sleeper wait for an event. */
export function virtualClock(onSleep: (durationMs: number) => Promise<void> | undefined = () => undefined): Clock {
  let nowMs = 0;
  return {
    now: () => nowMs,
    monotonic: () => nowMs,
    sleep: async (durationMs, signal) => {
      signal?.throwIfAborted();
      nowMs += durationMs;
      await (onSleep(durationMs) ?? new Promise((resolve) => setImmediate(resolve)));
    },
  };
}
