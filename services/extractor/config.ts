import { z } from "zod";
import { coordinator, datasets, milliseconds, store, telemetry } from "../../platform/config/config.js";

/** `graft-extractor --config FILE`. */
export const extractorConfig = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,100}$/)
    .optional()
    .describe("Unique among the workers that live; default: host and process id."),
  coordinator,
  job: z.string().optional().describe("Only tasks of this job (its id); default: of all jobs in turn."),
  engine: z.string().default("onnx").describe("onnx or tensorflow; jobs that need another are left to others."),
  threads: z.number().int().positive().optional().describe("Of one engine call; default: one for each processor."),
  store,
  datasets,
  drainMs: milliseconds.default(20_000).describe("After SIGTERM: until then pictures under way are finished and the task is handed back."),
  telemetry,
});
