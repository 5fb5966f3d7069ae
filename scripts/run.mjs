// Runs the steps of a command one after another and says how long each took; the first that fails ends it.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** @param {{name: string, args: string[]}[]} steps Each is run as `node ARGS` in the repository's root. */
export function runSteps(steps) {
  for (const { name, args } of steps) {
    const start = performance.now();
    const { status } = spawnSync(process.execPath, args, { stdio: "inherit", cwd: root });
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    if (status !== 0) {
      console.error(`${name}: failed after ${seconds} s`);
      process.exit(status ?? 1);
    }
    console.log(`${name}: ok (${seconds} s)`);
  }
}
