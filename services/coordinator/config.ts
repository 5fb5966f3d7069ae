import { z } from "zod";
import { limits } from "../../domain/limits.js";
import { address, datasets, fromOutside, milliseconds, secret, store, telemetry } from "../../platform/config/config.js";

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
    clientToken: secret
      .optional()
      .describe(
        "Bearer token of people and programs; without one the API server says who may call what where kubernetes is given, else everybody who reaches the port may call all.",
      ),
    workerToken: secret.optional().describe("Bearer token of workers; default: clientToken."),
    store,
    datasets,
    kubernetes: z
      .strictObject({
        kubeconfig: z.string().optional().describe("A kubeconfig file; default: the service account of the pod."),
        context: z.string().optional().describe("A context of that file; default: its current one."),
        namespace: fromOutside.describe("Of the Lease by which one of several coordinators leads; in a pod its own."),
        podName: fromOutside.optional().describe("This pod's name, which gets the leader's label; default: none, a process outside."),
        watchNamespace: z.string().optional().describe("Only GraftJobs of this namespace; default: of all."),
        tokenAudience: z.string().default("graft").describe("Audience that callers' service-account tokens are made for."),
        cacheDomains: z
          .record(z.string(), z.array(z.string()))
          .default({})
          .describe("Cache domains that several namespaces may name: {shared: [team-a, team-b]}. A namespace's own is always open to it."),
        leaseMs: milliseconds.default(15_000).describe("How long another coordinator waits for one that leads and is silent."),
        requestsPerSecond: z
          .number()
          .positive()
          .default(limits.kubernetesRequestsPerSecond)
          .describe("Requests to the API server in the long run; watches and the Lease do not count."),
        progressMs: milliseconds
          .default(5_000)
          .describe("Least time between two writes of one job's progress; a change of state is written at once."),
        unschedulableMs: milliseconds
          .default(3_600_000)
          .describe("How long a job waits for a node that takes its workers before it fails."),
        imagePullMs: milliseconds.default(600_000).describe("How long it waits for their image."),
        startMs: milliseconds.default(600_000).describe("How long it waits for workers that do not start for another reason."),
        retryForMs: milliseconds
          .default(3_600_000)
          .describe("How long failures that pass, such as a store that is away, are waited out before a job fails."),
      })
      .optional()
      .describe("Given: jobs are GraftJobs of a Kubernetes cluster, and their workers are pods that this coordinator makes."),
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
