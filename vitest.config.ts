import { defineConfig } from "vitest/config";

/** Unit and conformance tests: `npm test`. What needs real servers, Python or minutes ends in `.all.test.ts` and runs in `npm run test:all`. */
export default defineConfig({
  test: {
    include: ["{domain,formats,platform,services,cli,test,bench}/**/*.test.ts"],
    exclude: ["**/*.all.test.ts"],
    reporters: ["default", "./scripts/name-skipped.mjs"],
    allowOnly: false,
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
