import { z } from "zod";
import { store } from "../../platform/config/config.js";

/** `main.js secrets --config FILE`. */
export const secretsConfig = z.strictObject({
  pictures: z.strictObject({
    endpoint: z.url({ protocol: /^https?$/ }).describe("Where the sample pictures are read from; part of the credentials that jobs name."),
  }),
});

/** `main.js content --config FILE`. */
export const contentConfig = z.strictObject({
  store,
  pictures: z.strictObject({
    folder: z.string().describe("A folder of class folders."),
    location: z.string().describe("s3://bucket/prefix on the store's server."),
  }),
});
