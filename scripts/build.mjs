// Compiles TypeScript to dist/. `npm run build` compiles always; setup.mjs only where the sources are others than those of the last build.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stamp = join(root, "dist/.built");
const folders = ["domain", "formats", "platform", "services", "cli", "proto/gen", "test", "bench"];

/** Files under a folder of the repository, relative to the root, with "/". */
function filesUnder(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name.replaceAll("\\", "/")}`);
}

const sources = () => folders.flatMap(filesUnder).filter((file) => file.endsWith(".ts"));

/** Names and times of all sources: it changes with each that is written, added or deleted. */
function fingerprint() {
  const hash = createHash("sha256");
  for (const file of ["tsconfig.json", "package-lock.json", ...sources().sort()])
    hash.update(`${file} ${statSync(join(root, file)).mtimeMs}\n`);
  return hash.digest("hex");
}

export function isBuilt() {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === fingerprint();
}

export function build() {
  const built = fingerprint(); // what changes meanwhile is built next time
  rmSync(stamp, { force: true });
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "."], { stdio: "inherit", cwd: root });
  if (status !== 0) process.exit(status ?? 1);
  // What a deleted source left behind would still be found by whoever imports it.
  const expected = new Set(sources().map((file) => `dist/${file.replace(/\.ts$/, ".js")}`));
  for (const file of filesUnder("dist")) if (file.endsWith(".js") && !expected.has(file)) rmSync(join(root, file));
  writeFileSync(stamp, built);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build();
