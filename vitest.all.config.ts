import { configDefaults, defineConfig } from "vitest/config";

const all = ["{domain,formats,platform,services,cli,test,bench}/**/*.all.test.ts"];
/** Files that measure time or memory, fill disks, or kill, freeze and cut off processes at moments of their own: beside others they would see what those do to the machine. */
const alone = [
  "bench/**/*.all.test.ts",
  "platform/{bucket,gradient-bus,object-store}/**/*.all.test.ts",
  "services/{bootstrap,trainer}/**/*.all.test.ts",
  "test/integration/{cluster,kubectl,kubernetes,s3,streamed,trainers}*.all.test.ts",
  "test/integration/images.all.test.ts",
  "test/support/**/*.all.test.ts",
];

/** What `npm test` leaves out: tests that end in `.all.test.ts`. */
export default defineConfig({
  test: {
    reporters: ["default", "./scripts/name-skipped.mjs"],
    allowOnly: false,
    pool: "forks",
    testTimeout: 600_000,
    hookTimeout: 600_000,
    projects: [
      {
        extends: true,
        test: {
          name: "two at a time",
          include: all,
          exclude: [...configDefaults.exclude, ...alone],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      { extends: true, test: { name: "alone", include: alone, fileParallelism: false, sequence: { groupOrder: 1 } } },
    ],
  },
});
