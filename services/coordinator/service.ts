import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { Counter, Gauge } from "prom-client";
import type { Milestone } from "../../domain/job/records.js";
import { CodedError } from "../../domain/errors.js";
import { renderEvent } from "../../domain/job/events.js";
import { printable } from "../../domain/job/figures.js";
import { renderPlan } from "../../domain/job/render-plan.js";
import { isFinal, phases } from "../../domain/job/transitions.js";
import { serveGrpc } from "../../platform/grpc/server.js";
import { jobServiceHandlers } from "../../platform/job-service/grpc-server.js";
import type { ServiceBody } from "../../platform/service-process/service-process.js";
import { workServiceHandlers } from "../../platform/work-service/grpc-server.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { enginesOf, openLocal } from "../local/local.js";
import { planLocalJob } from "../local/plan-job.js";
import { readWeightsFile } from "../local/weights-file.js";
import { coordinatorConfig } from "./config.js";
import { JobRequests } from "./job-requests.js";
import { Jobs } from "./jobs.js";
import { WorkRouter } from "./work-router.js";

/** Results may be fetched by their references for an hour. */
const RESULT_URL_SECONDS = 3_600;

/** The coordinator: jobs, their requests and their workers, until the signal. `milestone` is for tests that end the process at a point of its life. */
export function coordinatorService(milestone: (milestone: Milestone) => void = () => undefined): ServiceBody<typeof coordinatorConfig> {
  return async (config, { log, metrics, signal, ready }) => {
    // 1. What everything stands on. A store that cannot be reached ends the process: whoever started it starts it again.
    const local = await openLocal(config.store.location, { store: config.store.s3, datasets: config.datasets.s3 ?? config.store.s3 });
    for await (const _ of local.jobs.list()) break;

    // 2. The jobs.
    const failures = new Counter({ name: "graft_job_failures_total", help: "Passing failures of jobs", registers: [metrics] });
    const jobs = new Jobs(
      {
        store: local.store,
        jobs: local.jobs,
        backbones: local.backbones,
        openDataset: local.openDataset,
        openFeatures: local.openFeatures,
        readWeights: readWeightsFile,
        clock: local.clock,
        memoryBytes: config.workerMemoryMebibytes === undefined ? totalmem() : config.workerMemoryMebibytes * 2 ** 20,
        runner: "coordinator",
        newKey: () => randomBytes(32),
        milestone,
        enginesOf: async (job) => {
          await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);
          return enginesOf(local, job);
        },
        announce: (job, event) => {
          if (event.kind === "step" || event.kind === "extraction" || event.kind === "scan") log.debug({ job, ...event }, event.kind);
          else log.info({ job, kind: event.kind }, renderEvent(event));
        },
        onFailure: (job, error) => {
          failures.inc();
          log.warn(
            error instanceof CodedError ? { job, code: error.code } : { job, err: error },
            error instanceof Error ? error.message : String(error),
          );
        },
        ...(config.leaseMs !== undefined && { leaseMs: config.leaseMs }),
        ...(config.stepDeadlineMs !== undefined && { stepDeadlineMs: config.stepDeadlineMs }),
      },
      signal,
    );
    await jobs.load();
    metrics.registerMetric(
      new Gauge({
        name: "graft_jobs",
        help: "Jobs by phase",
        labelNames: ["phase"],
        registers: [],
        collect() {
          for (const phase of phases) this.set({ phase }, jobs.all.filter(({ board }) => board.state.phase === phase).length);
        },
      }),
    );

    // 3. Those who call.
    const requests = new JobRequests({
      jobs,
      plan: async (job, read) => {
        const planned = await planLocalJob(local, job, await local.openDataset(job.dataset.source), {
          read,
          probe: false,
          progress: () => undefined,
        });
        return { text: renderPlan(planned.plan), json: JSON.stringify(planned) };
      },
      urlOf: (key) => local.store.urlOf?.(key, RESULT_URL_SECONDS) ?? Promise.resolve(undefined),
    });
    const { tls, clientToken, workerToken } = config;
    const server = await serveGrpc({
      address: config.listen,
      allowPlaintext: config.allowPlaintext,
      ...(tls && {
        tls: {
          certificate: await readFile(tls.certificate),
          key: await readFile(tls.key),
          ...(tls.clientCa !== undefined && { clientCa: await readFile(tls.clientCa) }),
        },
      }),
      ...(clientToken !== undefined && { tokens: { client: [clientToken], worker: [workerToken ?? clientToken] } }),
      services: [jobServiceHandlers(requests), workServiceHandlers(new WorkRouter(jobs))],
      onUnexpected: (error, method) => log.error({ err: error, method }, "unexpected failure"),
    });
    log.info(
      { address: `${config.listen.slice(0, config.listen.lastIndexOf(":"))}:${String(server.port)}`, store: local.store.location },
      "serving",
    );
    ready(undefined);

    // 4. Until the signal; then no new calls, jobs stand still where they are, those who wait are told to come again.
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await server.stop(config.stopMs);
    await jobs.stopped();
    const open = jobs.all.filter(({ board }) => !isFinal(board.state.phase)).map(({ record }) => printable(record.name));
    if (open.length > 0) log.info({ jobs: open }, "jobs that go on with the next coordinator");
  };
}
