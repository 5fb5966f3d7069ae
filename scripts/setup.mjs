// Sets up what is missing: installs the locked packages and builds, each only where its inputs changed. Nothing but Node is needed to run it.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { build, isBuilt } from "./build.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`graft needs Node 20.19 or later, this is ${process.versions.node}: install a newer one and run the command again.`);
  process.exit(1);
}

const lock = createHash("sha256").update(readFileSync("package-lock.json")).update(process.platform).update(process.arch).digest("hex");
const stamp = "node_modules/.graft-installed";
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
  console.log("Installing packages …");
  rmSync(stamp, { force: true }); // an installation that is cut off must not pass for a whole one
  // The CPU library of onnxruntime-node is inside its package; its install script would download CUDA.
  run("npm", ["ci", "--prefer-offline", "--loglevel=error"], { ONNXRUNTIME_NODE_INSTALL: "skip" });
  writeFileSync(stamp, lock);
}

if (!isBuilt()) {
  console.log("Building …");
  build();
}

// `npm ci` links the programs of dependencies only, not our own.
mkdirSync("node_modules/.bin", { recursive: true });
const link = join("node_modules", ".bin", process.platform === "win32" ? "graft.cmd" : "graft");
rmSync(link, { force: true });
if (process.platform === "win32") writeFileSync(link, '@node "%~dp0..\\..\\bin\\graft.cjs" %*\r\n');
else symlinkSync(join("..", "..", "bin", "graft.cjs"), link);

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    stdio: "inherit",
    env: { ...process.env, ...env },
    shell: process.platform === "win32",
  });
  if (error || status !== 0) {
    console.error(
      `${command} ${args.join(" ")} failed${error ? `: ${error.message}` : ""}. Its output stands above; run the command again once that is mended.`,
    );
    process.exit(1);
  }
}
