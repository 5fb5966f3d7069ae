// Loaded into a measured process by `node --import`: when the process ends, its peak memory in bytes goes to the file that GRAFT_BENCH_PEAK names.
import { writeFileSync } from "node:fs";

process.on("exit", () => {
  const file = process.env.GRAFT_BENCH_PEAK;
  if (file) writeFileSync(file, String(process.resourceUsage().maxRSS * 1024));
});
