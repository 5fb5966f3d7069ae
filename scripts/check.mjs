// `npm run check`: everything that a change must pass before it is pushed.
import { runSteps } from "./run.mjs";

runSteps([
  { name: "types", args: ["node_modules/typescript/bin/tsc", "--noEmit", "-p", "."] },
  { name: "lint", args: ["node_modules/eslint/bin/eslint.js", "."] },
  { name: "format", args: ["node_modules/prettier/bin/prettier.cjs", "--check", "--log-level", "warn", "."] },
  { name: "generated files", args: ["scripts/generate.mjs", "--check"] },
  { name: "tests", args: ["scripts/test.mjs"] },
]);
