import { z } from "zod";
import { address, datasets, milliseconds, secret, store, telemetry } from "../../platform/config/config.js";

/** `graft-coordinator --config FILE`. */
export const coordinatorConfig = z
  .strictObject({
    listen: address.default("127.0.0.1:7070").describe("Address of the gRPC server; beyond this machine it needs tls or allowPlaintext."),
    tls: z
      .strictObject({
        certificate: z.string().describe("PEM file."),
        key: z.string().describe("PEM file."),
        clientCa: z.string().optional().describe("PEM file; every client must then have a certificate that it signed."),
      })
      .optional()
      .describe("Given: TLS."),
    allowPlaintext: z.boolean().default(false).describe("Listen beyond this machine without TLS, where the network itself is encrypted."),
    clientToken: secret.optional().describe("Bearer token of people and programs; without one everybody who reaches the port may call."),
    workerToken: secret.optional().describe("Bearer token of workers; default: clientToken."),
    store,
    datasets,
    leaseMs: milliseconds.optional().describe("How long an extractor may be silent before its task is given to another; default 30000."),
    stepDeadlineMs: milliseconds.optional().describe("Least silence after which the others go on without a trainer; default 10000."),
    workerMemoryMebibytes: z
      .number()
      .int()
      .positive()
      .optional()
      .describe("What one worker may use; a job that needs more is refused. Default: this machine's memory."),
    stopMs: milliseconds.default(10_000).describe("How long calls under way may take after SIGTERM."),
    telemetry,
  })
  .refine(({ clientToken, workerToken }) => workerToken === undefined || clientToken !== undefined, {
    path: ["workerToken"],
    message: "needs clientToken beside it; without that no token would be asked for",
  });
