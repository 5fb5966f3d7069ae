import { z } from "zod";
import { coordinator, datasets, engine, milliseconds, store, telemetry, threads, workerName } from "../../platform/config/config.js";

/** `graft-extractor --config FILE`. */
export const extractorConfig = z.strictObject({
  name: workerName,
  coordinator,
  job: z.string().optional().describe("Only tasks of this job (its id); default: of all jobs in turn."),
  engine,
  threads,
  store,
  datasets,
  datasetCredentials: z
    .string()
    .optional()
    .describe("A folder with the files endpoint, accessKey, secretKey and perhaps region, in place of datasets.s3: a mounted Secret."),
  drainMs: milliseconds.default(20_000).describe("After SIGTERM: until then pictures under way are finished and the task is handed back."),
  telemetry,
});

/** Fields that are given on the command line where one file is for many workers. */
export const extractorFlags = ["name", "job", "engine", "datasetCredentials"] as const satisfies readonly (keyof z.output<
  typeof extractorConfig
>)[];
