// Loaded into a measured process by `node --import`: when the process ends, what it took goes to the file that GRAFT_BENCH_RESOURCES names.
import { writeFileSync } from "node:fs";

process.on("exit", () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  const file = process.env.GRAFT_BENCH_RESOURCES;
  if (file) writeFileSync(file, JSON.stringify({ peakBytes: maxRSS * 1024, cpuSeconds: (userCPUTime + systemCPUTime) / 1e6 }));
});
