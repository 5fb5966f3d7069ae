// `npm run test:all`: the tests that need Python, other versions of Node, real data, signals or minutes. Each names what it could not run and why.
import { runSteps } from "./run.mjs";

runSteps([
  { name: "all tests", args: ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.all.config.ts", ...process.argv.slice(2)] },
]);
