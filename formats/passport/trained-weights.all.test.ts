import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { weightsSha256 } from "../../domain/training/parameters.js";
import { findPython, runPython } from "../../test/support/python.js";
import { encodeTrainedWeights } from "./trained-weights.js";

test("a Python script recomputes weightsSha256 from the file", ({ skip }) => {
  const python = findPython();
  if (python === undefined) return skip("no Python 3 on this machine");
  // Names whose UTF-8 order differs from their UTF-16 order, and one that an object would sort first.
  const names = ["head/output/kernel", "head/output/bias", "7", "\u{1f33c}/kernel", "\uff21/kernel", "é/bias"];
  const tensors = new Map(
    names.map((name, i) => [
      name,
      { shape: [2, i + 1], data: Float32Array.from({ length: 2 * (i + 1) }, (_, j) => Math.fround((j + 1) / (i + 3))) },
    ]),
  );
  const folder = mkdtempSync(join(tmpdir(), "graft-weights-"));
  try {
    const file = join(folder, "weights.safetensors");
    writeFileSync(file, encodeTrainedWeights(tensors, { backbone: "b", backboneDigest: "0".repeat(64), cut: "c", classes: ["a", "b"] }));
    assert.equal(runPython(python, "test/support/weights_sha256.py", file).trim(), weightsSha256(tensors));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
