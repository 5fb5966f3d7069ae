/**
 * Writes proto/gen from proto/graft and proto/third_party. With `--check` it writes nothing and fails where the committed files are not what the protos give,
 * where our protos break a lint rule (buf.yaml), or where they break the contract of the last commit.
 * Works offline: compiler and plug-in are packages, the well-known protos come with the compiler.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, "proto", "gen");
const check = process.argv.includes("--check");

const temporary = mkdtempSync(join(tmpdir(), "graft-generate-"));
try {
  // 1. Into a temporary folder, so that a failure leaves the committed files whole.
  const fresh = join(temporary, "proto", "gen");
  const buf = runBuf(temporary, "generate", "--output", temporary);
  if (buf.status !== 0) {
    process.stderr.write(
      `generate: buf generate failed (status ${buf.status ?? buf.signal ?? buf.error?.message})\n${buf.stdout ?? ""}${buf.stderr ?? ""}`,
    );
    process.exitCode = 1;
  } else if (check) {
    // 2a. Compare.
    const lint = runBuf(temporary, "lint");
    if (lint.status !== 0) {
      process.stderr.write(`generate --check: proto/graft breaks a rule of buf.yaml\n${lint.stdout}${lint.stderr}`);
      process.exitCode = 1;
    }
    // A folder that is no git work tree (an unpacked archive) has no last commit to compare with.
    const breaking = existsSync(join(root, ".git")) ? runBuf(temporary, "breaking", "--against", ".git#ref=HEAD") : undefined;
    if (breaking !== undefined && breaking.status !== 0) {
      process.stderr.write(`generate --check: proto/graft breaks what the last commit promised\n${breaking.stdout}${breaking.stderr}`);
      process.exitCode = 1;
    }
    const offences = differences(fresh, target);
    if (offences.length > 0) {
      process.stderr.write(
        `generate --check: proto/gen is stale; run \`npm run generate\` and commit it\n${offences.map((line) => `  ${line}\n`).join("")}`,
      );
      process.exitCode = 1;
    } else {
      process.stdout.write(`generate --check: ${filesIn(fresh).length} generated files are current\n`);
    }
  } else {
    // 2b. Replace.
    rmSync(target, { recursive: true, force: true });
    cpSync(fresh, target, { recursive: true });
    process.stdout.write(`generate: wrote ${filesIn(fresh).length} files under ${relative(process.cwd(), target)}\n`);
  }
} finally {
  rmSync(temporary, { recursive: true, force: true });
}

/** Runs buf without network and without a cache that outlives this run. */
function runBuf(temporary, ...args) {
  return spawnSync(process.execPath, [join(root, "node_modules", "@bufbuild", "buf", "bin", "buf"), ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, BUF_CACHE_DIR: join(temporary, "cache") },
  });
}

/** @returns {string[]} one line for each file that is missing, surplus or different */
function differences(fresh, committed) {
  const expected = filesIn(fresh);
  const found = existsSync(committed) ? filesIn(committed) : [];
  return [
    ...expected.filter((file) => !found.includes(file)).map((file) => `missing: ${file}`),
    ...found.filter((file) => !expected.includes(file)).map((file) => `surplus: ${file}`),
    ...expected
      .filter((file) => found.includes(file) && !readFileSync(join(fresh, file)).equals(readFileSync(join(committed, file))))
      .map((file) => `different: ${file}`),
  ];
}

/** Files under a folder, relative to it, sorted. */
function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}
