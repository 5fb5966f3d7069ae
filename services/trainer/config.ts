import { z } from "zod";
import { coordinator, engine, milliseconds, secret, store, telemetry, threads, workerName } from "../../platform/config/config.js";

/** `graft-trainer --config FILE`. */
export const trainerConfig = z.strictObject({
  name: workerName,
  coordinator,
  job: z.string().optional().describe("Only this job (its id); default: whichever needs a trainer."),
  engine,
  threads,
  store,
  nats: z.strictObject({
    servers: z.array(z.string().min(1)).min(1).describe("nats://host:port or tls://host:port of one cluster."),
    user: z.string().optional().describe("Where the server asks for a user; env:NAME and file:PATH as for secrets."),
    password: secret.optional().describe("Of the user."),
    token: secret.optional().describe("Where the server asks for a token instead."),
    ca: z.string().optional().describe("PEM file of the authority that signed the servers' certificates."),
  }),
  drainMs: milliseconds.default(20_000).describe("After SIGTERM: until then a checkpoint is written and the others are told."),
  telemetry,
});
