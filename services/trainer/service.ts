import { readFile } from "node:fs/promises";
import { Counter, Gauge } from "prom-client";
import type { Milestone } from "../../domain/job/records.js";
import { CodedError } from "../../domain/errors.js";
import { isWorthAnotherTry } from "../../domain/worker-failures.js";
import { natsGradientBus, type NatsGradientBus } from "../../platform/gradient-bus/nats.js";
import type { ServiceBody } from "../../platform/service-process/service-process.js";
import { grpcWorkService } from "../../platform/work-service/grpc-client.js";
import { LaneStore } from "../../platform/lane-store/lane-store.js";
import { openLocal } from "../local/local.js";
import { openCoordinator, workerName } from "../local/worker-process.js";
import { trainerConfig } from "./config.js";
import { runTrainer } from "./trainer.js";
import { loadTrainingSet } from "./training-set.js";

/** Before this process goes on after a failure that passes. */
const RESTART_MS = 1_000;

/** A trainer: one job after another, until the signal or, for one job, its end. `milestone` is for tests that end the process at a point of its life. */
export function trainerService(milestone: (milestone: Milestone) => void = () => undefined): ServiceBody<typeof trainerConfig> {
  return async (config, { log, metrics, signal, ready }) => {
    // 1. The coordinator, the store, the engine.
    const trainer = workerName(config);
    const channel = await openCoordinator(config.coordinator);
    const local = await openLocal(config.store.location, { store: config.store.s3, threads: config.threads });
    const work = grpcWorkService(channel, { clock: local.clock, random: Math.random, signal });
    await local.engine(config.engine);

    // 2. The bus, as soon as it is there.
    const { nats } = config;
    const ca = nats.ca === undefined ? undefined : await readFile(nats.ca, "utf8");
    let bus: NatsGradientBus | undefined;
    while (bus === undefined) {
      try {
        bus = await natsGradientBus({
          servers: nats.servers,
          name: trainer,
          ...(nats.user !== undefined && { credentials: { user: nats.user, password: nats.password ?? "" } }),
          ...(nats.token !== undefined && { credentials: { token: nats.token } }),
          ...(ca !== undefined && { tls: { ca } }),
          onError: (error) =>
            log.error(
              error instanceof CodedError ? { code: error.code } : { err: error },
              error instanceof Error ? error.message : String(error),
            ),
          onConnection: (connected, server) => log.info({ server }, connected ? "the gradient bus is back" : "the gradient bus is lost"),
        });
      } catch (error) {
        if (!(error instanceof CodedError && error.code === "BUS_UNAVAILABLE")) throw error;
        ready(error.message);
        log.warn({ code: error.code }, error.message);
        await local.clock.sleep(RESTART_MS, signal);
      }
    }
    ready(undefined);
    log.info(
      { trainer, engine: config.engine, coordinator: channel.address, store: local.store.location, nats: nats.servers },
      "asking for a job",
    );
    const grains = new Counter({ name: "graft_grains_total", help: "Grains computed", registers: [metrics] });
    metrics.registerMetric(
      new Gauge({
        name: "graft_exchange_bytes",
        help: "Bytes through the gradient bus since the start",
        labelNames: ["direction"],
        registers: [],
        collect() {
          const { sentBytes, receivedBytes } = bus.counters();
          this.set({ direction: "sent" }, sentBytes);
          this.set({ direction: "received" }, receivedBytes);
        },
      }),
    );

    // 3. One job after another.
    try {
      while (!signal.aborted) {
        try {
          await runTrainer(
            trainer,
            config.job,
            {
              work,
              store: local.store,
              backbones: local.backbones,
              bus,
              engine: () => local.engine(config.engine),
              clock: local.clock,
              openFeatures: local.openFeatures,
              loadTrainingSet,
              openLanes: (features, plan) => new LaneStore(local.domain(plan.domain).store, features),
              milestone,
              onGeneration: (member, computed) => {
                grains.inc(computed);
                log.info(
                  { job: member.jobId, trainer, generation: member.generation, grains: computed, ...bus.counters() },
                  "left a generation",
                );
              },
              onFailure: async ({ jobId, generation }, error) => {
                const code = error instanceof CodedError ? error.code : "INTERNAL";
                const message = error instanceof Error ? error.message : String(error);
                log.error({ job: jobId, trainer, generation, code }, message);
                await work.reportFailure({ worker: trainer, jobId, code, message, lease: undefined });
              },
            },
            signal,
          );
          if (config.job !== undefined) return;
        } catch (error) {
          if (signal.aborted) return;
          if (!(error instanceof CodedError) || !isWorthAnotherTry("trainer", error.code)) throw error;
          log.warn({ trainer, code: error.code }, `${error.message}; going on in ${String(RESTART_MS / 1000)} s`);
          await local.clock.sleep(RESTART_MS, signal).catch(() => undefined);
        }
      }
    } finally {
      await bus.close();
      channel.close();
    }
  };
}
