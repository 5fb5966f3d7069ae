import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { node24 } from "../support/node24.js";

const root = resolve(import.meta.dirname, "../..");
const found = node24();
if ("missing" in found) console.warn(`skipped: ${found.missing}`);

test.skipIf("missing" in found)("Node 24 computes the same bits", () => {
  const bits = JSON.stringify(join(root, "dist/test/golden/bits.js"));
  const script = `import { bitDigests } from ${bits}; process.stdout.write(JSON.stringify([process.versions.node, bitDigests()]));`;
  const output = execFileSync((found as { node: string }).node, ["--input-type=module", "--eval", script], { cwd: root, encoding: "utf8" });
  const [version, digests] = JSON.parse(output) as [string, Record<string, string>];
  expect(version).toMatch(/^24\./u);
  expect(digests).toEqual(JSON.parse(readFileSync(join(root, "test/golden/bits.json"), "utf8")));
});
