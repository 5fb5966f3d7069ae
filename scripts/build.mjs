// Compiles TypeScript to dist/. `npm run build` compiles always; setup.mjs only where a source is newer than the last build.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stamp = join(root, "dist/.built");
const sources = ["domain", "formats", "platform", "services", "cli", "proto/gen", "test", "bench"];

export function newestSourceMs() {
  let newest = statSync(join(root, "tsconfig.json")).mtimeMs;
  for (const folder of sources) {
    if (!existsSync(join(root, folder))) continue;
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (name.endsWith(".ts")) newest = Math.max(newest, statSync(join(root, folder, name)).mtimeMs);
    }
  }
  return newest;
}

export function builtMs() {
  return existsSync(stamp) ? statSync(stamp).mtimeMs : 0;
}

export function build() {
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "."], { stdio: "inherit", cwd: root });
  if (status !== 0) process.exit(status ?? 1);
  chmodSync(join(root, "dist/cli/main.js"), 0o755);
  writeFileSync(stamp, "");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build();
