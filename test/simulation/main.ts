// `npm run simulate [-- --seeds N --from S]` or `[-- --seed X]`: runs worlds of the simulation and prints those that fail, each with its seed and what happened.
import { parseArgs } from "node:util";
import { describe, simulate } from "./simulate.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "500" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
  },
});
const first = Number(values.seed ?? values.from);
const count = values.seed === undefined ? Number(values.seeds) : 1;
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || count < 1) {
  console.error("usage: npm run simulate [-- --seeds N --from S] or [-- --seed X]; whole numbers are needed");
  process.exit(2);
}

const startMs = performance.now();
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  const outcome = await simulate(seed);
  if (outcome.violations.length > 0) {
    failed++;
    console.log(describe(outcome));
  } else if (values.seed !== undefined) {
    console.log([`seed ${seed}: nothing is wrong`, JSON.stringify(outcome.swarm), ...outcome.journal].join("\n  "));
  }
}
console.log(`${count} seeds, ${failed} failed (${((performance.now() - startMs) / 1000).toFixed(1)} s)`);
process.exitCode = failed > 0 ? 1 : 0;
