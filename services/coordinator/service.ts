import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { Counter, Gauge } from "prom-client";
import type { z } from "zod";
import type { Milestone } from "../../domain/job/records.js";
import { CodedError } from "../../domain/errors.js";
import { renderEvent } from "../../domain/job/events.js";
import { printable } from "../../domain/job/figures.js";
import { renderPlan } from "../../domain/job/render-plan.js";
import { isFinal, phases } from "../../domain/job/transitions.js";
import type { Access } from "../../platform/access/access.js";
import { everyone } from "../../platform/access/everyone.js";
import { staticTokens } from "../../platform/access/static-tokens.js";
import { serveGrpc } from "../../platform/grpc/server.js";
import { jobServiceHandlers } from "../../platform/job-service/grpc-server.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { openDataset } from "../../platform/dataset-source/open-dataset.js";
import type { JobRequest } from "../../platform/job-service/job-service.js";
import type { ServiceBody, ServiceContext } from "../../platform/service-process/service-process.js";
import { workServiceHandlers } from "../../platform/work-service/grpc-server.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { enginesOf, type Local, openLocal } from "../local/local.js";
import { planLocalJob } from "../local/plan-job.js";
import { readWeightsFile } from "../local/weights-file.js";
import { coordinatorConfig } from "./config.js";
import { AuthorizedJobs } from "./authorized-jobs.js";
import { AuthorizedWork } from "./authorized-work.js";
import { JobRequests } from "./job-requests.js";
import { JobController, type JobControllerDeps } from "./controller/job-controller.js";
import { rememberedEngines } from "./remembered-engines.js";
import { Jobs, namespaceOf } from "./jobs.js";
import { type KubernetesConfig, type OnKubernetes, openKubernetes } from "./kubernetes.js";
import { WorkRouter } from "./work-router.js";

/** How long requests to the API server that are under way may take when the coordinator stops. */
const LAST_WRITES_MS = 1_000;

type Config = z.output<typeof coordinatorConfig>;

/** Results may be fetched by their references for an hour. */
const RESULT_URL_SECONDS = 3_600;

/** The coordinator: jobs, their requests and their workers, until the signal. `milestone` is for tests that end the process at a point of its life. */
export function coordinatorService(milestone: (milestone: Milestone) => void = () => undefined): ServiceBody<typeof coordinatorConfig> {
  return async (config, context) => {
    const { log, ready } = context;
    // 1. What everything stands on. A store that cannot be reached ends the process: whoever started it starts it again.
    const local = await openLocal(config.store.location, { store: config.store.s3, datasets: config.datasets.s3 ?? config.store.s3 });
    for await (const _ of local.jobs.list()) break;
    if (config.kubernetes === undefined) return serve(config, local, context, milestone, undefined);

    // 2. On Kubernetes others may stand by: one leads, and whoever does not any more ends.
    const deposed = new AbortController();
    setMaxListeners(0, deposed.signal); // one for each request that is under way
    const kubernetes = openKubernetes(config.kubernetes, local.clock, deposed.signal, context);
    ready(undefined);
    log.info("standing by");
    const lost = await kubernetes.leadership.lead(context.signal);
    log.info("leading");
    lost.addEventListener("abort", () => {
      const why = lost.reason as CodedError;
      log.warn({ code: why.code }, why.message);
      deposed.abort(why);
      context.stop(why);
    });
    await serve(config, local, context, milestone, kubernetes);
    if (!lost.aborted) await kubernetes.leadership.release();
  };
}

/** The part of a coordinator that alone writes. */
async function serve(
  config: Config,
  local: Local,
  { log, metrics, signal, ready }: ServiceContext,
  milestone: (milestone: Milestone) => void,
  kubernetes: OnKubernetes | undefined,
): Promise<void> {
  // 1. The jobs.
  const failures = new Counter({ name: "graft_job_failures_total", help: "Passing failures of jobs", registers: [metrics] });
  const onFailure = (job: string, error: unknown): void => {
    failures.inc();
    log.warn(
      error instanceof CodedError ? { job, code: error.code } : { job, err: error },
      error instanceof Error ? error.message : String(error),
    );
  };
  const openDatasetOf = async (source: string, request: JobRequest | undefined): Promise<OpenedDataset> =>
    kubernetes === undefined ? local.openDataset(source) : openDataset(source, await kubernetes.keysOf(request), local.retries);
  const jobs: Jobs = new Jobs(
    {
      store: local.store,
      jobs: local.jobs,
      backbones: local.backbones,
      openDataset: (source, record) => openDatasetOf(source, record.request),
      openFeatures: local.openFeatures,
      readWeights: (from, record) => (kubernetes === undefined ? readWeightsFile(from) : jobs.readWeightsOf(from, namespaceOf(record))),
      clock: local.clock,
      memoryBytes: config.workerMemoryMebibytes === undefined ? totalmem() : config.workerMemoryMebibytes * 2 ** 20,
      runner: kubernetes === undefined ? "coordinator" : "kubernetes",
      newKey: () => randomBytes(32),
      milestone,
      enginesOf: rememberedEngines(async (job) => {
        await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);
        return enginesOf(local, job);
      }, local.clock),
      announce: (job, event) => {
        if (event.kind === "step" || event.kind === "extraction" || event.kind === "scan") log.debug({ job, ...event }, event.kind);
        else log.info({ job, kind: event.kind }, renderEvent(event));
      },
      onFailure,
      ...(config.leaseMs !== undefined && { leaseMs: config.leaseMs }),
      ...(config.stepDeadlineMs !== undefined && { stepDeadlineMs: config.stepDeadlineMs }),
      retryForMs: config.kubernetes?.retryForMs,
      onChange: (job) => controller?.onJobChange(job),
      ...(kubernetes && { onExpired: (job) => controller?.expire(job) ?? Promise.resolve() }),
    },
    signal,
  );
  const controller =
    kubernetes &&
    config.kubernetes &&
    new JobController({ jobs, ...kubernetes, ...controllerSettings(config.kubernetes), clock: local.clock, onFailure });
  const controlling = await controller?.start(signal);
  if (controller === undefined) await jobs.load();
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

  // 2. Those who call.
  const requests = new JobRequests({
    jobs,
    records: controller &&
      kubernetes && {
        resolve: kubernetes.resolve,
        submit: (job) => controller.submit(job),
        find: (name) => controller.find(name),
        suspend: (job, suspend) => controller.suspend(job, suspend),
      },
    plan: async (job, request, read) => {
      const planned = await planLocalJob(local, job, await openDatasetOf(job.dataset.source, request), {
        read,
        probe: false,
        progress: () => undefined,
      });
      const { plan, ...leftOut } = planned;
      return { text: renderPlan(plan), json: JSON.stringify({ ...plan, ...leftOut }) };
    },
    urlOf: (key) => local.store.urlOf?.(key, RESULT_URL_SECONDS) ?? Promise.resolve(undefined),
  });
  const router = new WorkRouter(jobs);
  const access = accessOf(config, kubernetes);
  const { tls } = config;
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
    access,
    services: [
      jobServiceHandlers((caller) => new AuthorizedJobs({ requests, jobs, access }, caller)),
      workServiceHandlers((caller) => new AuthorizedWork({ work: router, access }, caller)),
    ],
    onUnexpected: (error, method) => log.error({ err: error, method }, "unexpected failure"),
  });
  log.info(
    { address: `${config.listen.slice(0, config.listen.lastIndexOf(":"))}:${String(server.port)}`, store: local.store.location },
    "serving",
  );
  ready(undefined);

  // 3. Until the signal; then no new calls, jobs stand still where they are, those who wait are told to come again.
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await server.stop(config.stopMs);
  await jobs.stopped();
  // What is not written now the next coordinator writes; an API server that is away is not waited for.
  await Promise.race([controlling?.ended, local.clock.sleep(LAST_WRITES_MS)]);
  const open = jobs.all.filter(({ board }) => !isFinal(board.state.phase)).map(({ record }) => printable(record.name));
  if (open.length > 0) log.info({ jobs: open }, "jobs that go on with the next coordinator");
}

/** Who may call: whoever has a token of the config, else whom Kubernetes knows and lets do it with kubectl, else everybody. */
function accessOf({ clientToken, workerToken }: Config, kubernetes: OnKubernetes | undefined): Access {
  if (clientToken !== undefined) return staticTokens({ client: [clientToken], worker: [workerToken ?? clientToken] });
  return kubernetes?.access ?? everyone;
}

function controllerSettings({
  progressMs,
  unschedulableMs,
  imagePullMs,
  startMs,
}: KubernetesConfig): Pick<JobControllerDeps, "progressMs" | "waits"> {
  return { progressMs, waits: { unschedulableMs, imagePullMs, startMs } };
}
