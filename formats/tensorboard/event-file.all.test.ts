import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { tensorStatistics } from "../../domain/training/histogram.js";
import { pythonWith, runPython } from "../../test/support/python.js";
import { encodeEventFile, eventFileName } from "./event-file.js";
import { trainingEvent } from "./training-events.js";

interface Read {
  readonly scalars: Record<string, [step: number, wallSeconds: number, value: number][]>;
  readonly histograms: Record<
    string,
    { step: number; min: number; max: number; num: number; sum: number; sum_squares: number; limits: number[]; counts: number[] }[]
  >;
}

test("the tensorboard package reads every scalar and histogram back", ({ skip }) => {
  const found = pythonWith(["tensorboard", "setuptools<81"]);
  if ("missing" in found) return skip(found.missing);

  const events = [0, 10, 20].map((step) =>
    trainingEvent({
      step,
      wallSeconds: 1_700_000_000.5 + step,
      train: { loss: 1 / (step + 1), accuracy: 0.5 },
      validation: { loss: 2 / (step + 1), accuracy: 0.25 },
      learningRate: 0.1,
      layers: new Map([
        [
          "head/output",
          { weights: tensorStatistics(Float32Array.from({ length: 5000 }, (_, i) => Math.fround(((i * 7919) % 5000) / 2500 - 1 + step))) },
        ],
      ]),
    }),
  );
  const folder = mkdtempSync(join(tmpdir(), "graft-events-"));
  try {
    writeFileSync(join(folder, eventFileName(1_700_000_000)), encodeEventFile(1_700_000_000, events));
    const read = JSON.parse(runPython(found.python, "test/support/read_events.py", folder)) as Read;

    assert.deepEqual(Object.keys(read.scalars).sort(), [...(events[0]?.scalars.keys() ?? [])].sort());
    assert.equal(Object.keys(read.scalars).length, 9);
    for (const [tag, points] of Object.entries(read.scalars)) {
      assert.deepEqual(
        points,
        events.map(({ step, wallSeconds, scalars }) => [step, wallSeconds, Math.fround(scalars.get(tag) as number)]),
      );
    }
    assert.deepEqual(Object.keys(read.histograms), ["head/output/weights"]);
    assert.deepEqual(
      read.histograms["head/output/weights"],
      events.map(({ step, histograms }) => {
        const { minimum, maximum, count, sum, sumOfSquares, limits, counts } = histograms.get("head/output/weights") as NonNullable<
          ReturnType<typeof histograms.get>
        >;
        return { step, min: minimum, max: maximum, num: count, sum, sum_squares: sumOfSquares, limits, counts };
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
