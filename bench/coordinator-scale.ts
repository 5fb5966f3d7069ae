import { fileURLToPath } from "node:url";
import type { ScaleReport } from "./coordinator-scale-process.js";
import type { Figure, Measure } from "./figure.js";
import { runNode } from "./process.js";

const PICTURES = 10_000_000;
const GIB = 1024 ** 3;
const BLOCKED_MS = 50;

/** Runs a coordinator with a generated listing of so many pictures to the end of its sample table. */
export async function runScale(pictures: number): Promise<ScaleReport> {
  const { stdout } = await runNode(fileURLToPath(new URL("coordinator-scale-process.js", import.meta.url)), [String(pictures)]);
  return JSON.parse(stdout) as ScaleReport;
}

/** A coordinator of one job on 10 million pictures: listing, plan, and the table of samples once all are extracted. */
export const measureCoordinatorScale: Measure = async (_options, say) => {
  say(`coordinator: ${PICTURES} pictures, minutes`);
  const { phases } = await runScale(PICTURES);
  const { scan, plan, samples } = phases;
  if (scan === undefined || plan === undefined || samples === undefined) throw new Error("the coordinator did not go through all phases");
  const row = "coordinator";
  const blocked = Object.entries(phases).flatMap(([name, phase]): Figure[] => [
    {
      row,
      name: `${name}: event loop at worst`,
      value: phase.worstDelayMs,
      unit: "ms",
      wanted: { atMost: BLOCKED_MS },
      note: "what other processes took of the core counts too",
    },
    {
      row,
      name: `${name}: CPU time between two turns at worst`,
      value: phase.worstBusyMs,
      unit: "ms",
      wanted: { atMost: BLOCKED_MS },
      note: "of all threads",
    },
  ]);
  const cpu = (phase: typeof scan): string => `${phase.cpuSeconds.toFixed(1)} s of CPU`;
  return [
    { row, name: "scan and plan", value: scan.seconds + plan.seconds, unit: "s", wanted: { atMost: 60 }, note: cpu(scan) },
    { row, name: "scan and plan: peak", value: plan.peakBytes / GIB, unit: "GiB", wanted: { atMost: 2 } },
    { row, name: "table of samples", value: samples.seconds, unit: "s", note: `${cpu(samples)}, with that of making commits and listing` },
    { row, name: "all: peak", value: samples.peakBytes / GIB, unit: "GiB" },
    ...blocked,
  ];
};
