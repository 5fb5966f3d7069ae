import { setTimeout } from "node:timers/promises";
import type { Clock } from "./clock.js";

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (durationMs, signal) => setTimeout(durationMs, undefined, signal ? { signal } : {}),
};
