import { expect, test } from "vitest";
import { describe, simulate } from "./simulate.js";

/** The seeds after those of simulation.test.ts, up to this one. */
const LAST_SEED = 500;

test(`seeds up to ${LAST_SEED}`, async () => {
  const failed: string[] = [];
  for (let seed = 51; seed <= LAST_SEED; seed++) {
    const outcome = await simulate(seed);
    if (outcome.violations.length > 0) failed.push(describe(outcome));
  }
  if (failed.length > 0) expect.fail(`${failed.length} seeds failed\n${failed.slice(0, 3).join("\n")}`);
});
