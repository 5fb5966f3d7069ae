import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { ScaleReport } from "./coordinator-scale-process.js";

const dist = process.env["GRAFT_TEST_DIST"] ?? resolve(import.meta.dirname, "../dist");

test("a coordinator lists, plans and joins half a million pictures in steps and in little memory, to the same table as ever", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [resolve(dist, "bench/coordinator-scale-process.js"), "500000"]);
  const { phases, samplesDigest } = JSON.parse(stdout) as ScaleReport;
  expect(samplesDigest).toBe("DIGEST");
  for (const [phase, { worstBusyMs, peakBytes }] of Object.entries(phases)) {
    // Twice what is wanted: garbage collection on other threads counts too.
    expect(worstBusyMs, `${phase}: milliseconds of CPU time between two turns of the event loop`).toBeLessThan(100);
    expect(peakBytes, `${phase}: peak memory`).toBeLessThan(512 * 2 ** 20);
  }
});
