import { defineConfig } from "vitest/config";

/** What `npm test` leaves out: tests that end in `.all.test.ts`. One file at a time, since they measure, kill and fill disks. */
export default defineConfig({
  test: {
    include: ["{domain,formats,platform,services,cli,test,bench}/**/*.all.test.ts"],
    reporters: ["default", "./scripts/name-skipped.mjs"],
    allowOnly: false,
    pool: "forks",
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
});
