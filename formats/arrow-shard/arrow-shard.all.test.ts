import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "vitest";

const script = fileURLToPath(new URL("../../test/support/read_shard.py", import.meta.url));
const golden = fileURLToPath(new URL("../../test/golden/shard-v1-3x4.arrow", import.meta.url));

/** A Python with pyarrow: GRAFT_PYTHON, python3, or a fresh environment made with pip. */
function pythonWithArrow(folder: string): string | undefined {
  for (const python of [process.env["GRAFT_PYTHON"], "python3"]) {
    if (python !== undefined && spawnSync(python, ["-c", "import pyarrow"]).status === 0) return python;
  }
  if (spawnSync("python3", ["-m", "venv", folder]).status !== 0) return undefined;
  const python = join(folder, "bin", "python");
  return existsSync(python) && spawnSync(python, ["-m", "pip", "install", "--quiet", "pyarrow"]).status === 0 ? python : undefined;
}

test("pyarrow reads a shard, and zlib.crc32 gives its checksums", (context) => {
  const folder = mkdtempSync(join(tmpdir(), "graft-pyarrow-"));
  try {
    const python = pythonWithArrow(folder);
    if (python === undefined) return context.skip("needs Python with pyarrow");
    const { status, stdout, stderr } = spawnSync(python, [script, golden], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    const read = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual(read, {
      columns: ["imageId: fixed_size_binary[32] not null", "feature: fixed_size_list<item: float not null>[4] not null", "checksum: uint32 not null"],
      format: "feature-shard",
      formatVersion: "1",
      rows: 3,
      shape: "4",
      view: "2",
      firstFeature: [0, 1, -1, 0.5],
      checksumsFit: true,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);
