// `npm test [-- FILTER …]`: unit tests and conformance suites in memory.
import { runSteps } from "./run.mjs";

if (!process.env.GRAFT_TEST_DATA)
  console.log("GRAFT_TEST_DATA is not set: tests on real weights and pictures beyond samples/ are skipped.");
runSteps([{ name: "unit tests", args: ["node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)] }]);
