import { cosPi, exactExp, exactLog, wholePower } from "../exact-math.js";
import type { Schedule } from "../job/job.js";

/**
 * The learning rate of a step, in float64. `base` is the optimiser's, `step` counts from 0 to `steps` - 1.
 * Warm-up comes first: base x step / warmupSteps while step < warmupSteps. The rest counts from its end, s = step - warmupSteps:
 * - cosine: base x (f + (1 - f) (1 + cos(pi p)) / 2) with f = finalFraction and p = s / (steps - 1 - warmupSteps), so that the last step has base x f
 *   (Loshchilov and Hutter: "SGDR", 2017, without restarts);
 * - step: base x factor^floor(s / everySteps);
 * - exponential: base x rate^(s / decaySteps).
 */
export function learningRateAt(schedule: Schedule, base: number, step: number, steps: number): number {
  if (step < schedule.warmupSteps) return (base * step) / schedule.warmupSteps;
  const s = step - schedule.warmupSteps;
  switch (schedule.kind) {
    case "constant":
      return base;
    case "cosine": {
      const span = steps - 1 - schedule.warmupSteps;
      const progress = span <= 0 ? 0 : Math.min(1, s / span);
      return base * (schedule.finalFraction + (1 - schedule.finalFraction) * (0.5 * (1 + cosPi(progress))));
    }
    case "step":
      return base * wholePower(schedule.factor, Math.floor(s / schedule.everySteps));
    case "exponential":
      return base * exactExp(exactLog(schedule.rate) * (s / schedule.decaySteps));
  }
}
