// `npm run test:all`: the tests that need Python, other versions of Node, TensorFlow, real data, signals or minutes. Each names what it could not run and why.
import { missingPrerequisite } from "./engine-tensorflow.mjs";
import { missingPrerequisite as missingForKubernetes } from "./kubernetes.mjs";
import { runSteps } from "./run.mjs";

// Built once, before the tests that use it; without it they are skipped and named.
const missing = missingPrerequisite("cpu");
if (missing !== undefined) console.log(`TensorFlow engine: ${missing}`);
const withoutKubernetes =
  process.env.GRAFT_TEST_KUBERNETES === undefined ? missingForKubernetes() : `its programs are in ${process.env.GRAFT_TEST_KUBERNETES}`;
if (withoutKubernetes !== undefined) console.log(`Kubernetes: ${withoutKubernetes}`);
const engine = { name: "TensorFlow engine", args: ["scripts/engine-tensorflow.mjs"] };

runSteps([
  ...(missing === undefined ? [engine] : []),
  ...(withoutKubernetes === undefined ? [{ name: "Kubernetes", args: ["scripts/kubernetes.mjs"] }] : []),
  { name: "all tests", args: ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.all.config.ts", ...process.argv.slice(2)] },
]);
