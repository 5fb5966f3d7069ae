import { setImmediate, setTimeout } from "node:timers/promises";
import type { Clock } from "./clock.js";

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (durationMs, signal) => {
    const options = signal ? { signal } : {};
    return durationMs === 0 ? setImmediate(undefined, options) : setTimeout(durationMs, undefined, options);
  },
};
