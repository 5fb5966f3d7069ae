import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

const cache = join(import.meta.dirname, "../../node_modules/.cache/graft-python");

/** A Python 3 of this machine, undefined where there is none. */
export function findPython(): string | undefined {
  for (const name of ["python3", "python"]) {
    try {
      if (execFileSync(name, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).startsWith("Python 3.")) return name;
    } catch {
      // The next name.
    }
  }
  return undefined;
}

/** A Python with these packages (pip's requirement strings), in a virtual environment that is made once and kept; a sentence where there can be none. */
export function pythonWith(packages: readonly string[]): { readonly python: string } | { readonly missing: string } {
  const system = findPython();
  if (system === undefined) return { missing: "no Python 3 on this machine" };
  const digest = createHash("sha256").update(JSON.stringify(packages)).digest("hex").slice(0, 12);
  const folder = join(cache, digest);
  const python = join(folder, "bin/python");
  if (existsSync(join(folder, "complete"))) return { python };
  const made = `${folder}.${process.pid}`;
  try {
    mkdirSync(cache, { recursive: true });
    rmSync(folder, { recursive: true, force: true });
    execFileSync(system, ["-m", "venv", made], { stdio: "pipe" });
    execFileSync(join(made, "bin/python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...packages], {
      stdio: "pipe",
    });
    mkdirSync(join(made, "complete"));
    renameSync(made, folder);
    return { python };
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    return { missing: `no virtual environment with ${packages.join(", ")}: ${(error as Error).message.split("\n").slice(0, 3).join(" ")}` };
  }
}

/** What a script prints, as text. */
export function runPython(python: string, script: string, ...args: readonly string[]): string {
  return execFileSync(python, [script, ...args], { encoding: "utf8", maxBuffer: 256 * 1024 * 1024, stdio: ["ignore", "pipe", "pipe"] });
}
