// `npm run kubernetes`: builds what tests on a real Kubernetes run, with Go, into .cache/kubernetes. Versions are in test/support/kubernetes/programs/.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Why it cannot be built on this machine, and what to do; undefined where it can. */
export function missingPrerequisite() {
  if (process.platform !== "linux")
    return `the kubelet and the scripts are for Linux, this is ${process.platform}; use a Linux machine or container`;
  if (spawnSync("go", ["version"], { stdio: "ignore" }).status !== 0)
    return "Go was not found; install Go 1.25 or later (https://go.dev/dl), or let GRAFT_TEST_KUBERNETES name a folder that holds the programs";
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const missing = missingPrerequisite();
  if (missing !== undefined) {
    console.error(`Kubernetes: ${missing}`);
    process.exit(3);
  }
  const { status } = spawnSync("bash", ["test/support/kubernetes/build.sh", ".cache/kubernetes"], { cwd: root, stdio: "inherit" });
  process.exit(status ?? 1);
}
