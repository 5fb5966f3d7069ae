import { Counter } from "prom-client";
import type { Milestone } from "../../domain/job/records.js";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { isWorthAnotherTry } from "../../domain/worker-failures.js";
import { JobFeatures } from "../../platform/job-features/job-features.js";
import type { ServiceBody } from "../../platform/service-process/service-process.js";
import { grpcWorkService } from "../../platform/work-service/grpc-client.js";
import { openLocal } from "../local/local.js";
import { openCoordinator, readDatasetCredentials, workerName } from "../local/worker-process.js";
import { extractorConfig } from "./config.js";
import { runExtractor } from "./extractor.js";
import { Slots } from "./slots.js";

/** Before this process goes on after a failure that passes. */
const RESTART_MS = 1_000;

/** An extractor: one task after another, until the signal or, for one job, its end. `milestone` is for tests that end the process at a point of its life. */
export function extractorService(milestone: (milestone: Milestone) => void = () => undefined): ServiceBody<typeof extractorConfig> {
  return async (config, { log, metrics, signal, ready }) => {
    // 1. The coordinator, the store, the engine.
    const worker = workerName(config);
    const channel = await openCoordinator(config.coordinator);
    const local = await openLocal(config.store.location, {
      store: config.store.s3,
      datasets:
        config.datasetCredentials === undefined
          ? (config.datasets.s3 ?? config.store.s3)
          : await readDatasetCredentials(config.datasetCredentials),
      threads: config.threads,
    });
    const work = grpcWorkService(channel, { clock: local.clock, random: Math.random, signal });
    const pictures = new Counter({
      name: "graft_pictures_total",
      help: "Pictures by outcome",
      labelNames: ["outcome"],
      registers: [metrics],
    });
    const failures = new Counter({ name: "graft_task_failures_total", help: "Tasks that failed", registers: [metrics] });
    const decodeSlots = new Slots(limits.decodesAtOnce);
    await local.engine(config.engine);
    ready(undefined);
    log.info({ worker, engine: config.engine, coordinator: channel.address, store: local.store.location }, "asking for tasks");

    // 2. One task after another. A failure that passes costs its task, not the process.
    try {
      while (!signal.aborted) {
        try {
          await runExtractor(
            worker,
            {
              work,
              store: local.store,
              backbones: local.backbones,
              openDataset: local.openDataset,
              clock: local.clock,
              identitiesOf: (plan) => local.domain(plan.domain).identities,
              openFeatures: async ({ featureSpec, viewSpec, domain }) =>
                JobFeatures.forWriting(local.domain(domain).store, featureSpec, viewSpec),
              decoder: local.decoder(),
              decodeSlots,
              engine: () => local.engine(config.engine),
              heartbeatMs: limits.heartbeatMs,
              jobId: config.job,
              milestone,
              onClaim: ({ jobId, task }) => log.info({ job: jobId, task, worker }, "task claimed"),
              onTask: (task, outcome) => {
                for (const kind of ["extracted", "cached", "rejected"] as const) pictures.inc({ outcome: kind }, outcome.progress[kind]);
                log.info({ job: task.jobId, task: task.task, worker, ...outcome.progress }, `task ${outcome.kind}`);
              },
              onTaskFailure: async (task, error) => {
                failures.inc();
                const code = error instanceof CodedError ? error.code : "INTERNAL";
                const message = error instanceof Error ? error.message : String(error);
                log.warn({ job: task.jobId, task: task.task, worker, code }, message);
                await work.reportFailure({ worker, jobId: task.jobId, code, message, lease: task.lease });
              },
            },
            signal,
          );
          if (config.job !== undefined) return;
        } catch (error) {
          if (signal.aborted) return;
          if (!(error instanceof CodedError) || !isWorthAnotherTry("extractor", error.code)) throw error;
          log.warn({ worker, code: error.code }, `${error.message}; going on in ${String(RESTART_MS / 1000)} s`);
          await local.clock.sleep(RESTART_MS, signal).catch(() => undefined);
        }
      }
    } finally {
      channel.close();
    }
  };
}
