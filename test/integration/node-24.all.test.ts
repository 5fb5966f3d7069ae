import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { node24 } from "../support/node24.js";

const root = resolve(import.meta.dirname, "../..");
const found = node24();
if ("missing" in found) console.warn(`skipped: ${found.missing}`);

test.skipIf("missing" in found)("all unit tests pass on Node 24", () => {
  const { node } = found as { node: string };
  expect(spawnSync(node, ["--version"], { encoding: "utf8" }).stdout).toMatch(/^v24\./u);
  // The environment of the vitest that runs this file would confuse the one that is started.
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("VITEST")));
  const { status, stdout } = spawnSync(node, ["node_modules/vitest/vitest.mjs", "run", "--reporter=dot"], {
    cwd: root,
    env: { ...environment, NO_COLOR: "1" },
    encoding: "utf8",
  });
  expect(status, stdout.slice(-8000)).toBe(0);
  expect(stdout).toMatch(/Tests\s+.*\d+ passed/u);
});
