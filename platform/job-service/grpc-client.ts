import { CodedError, errorCodes } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { JobService as JobServiceSchema } from "../../proto/gen/graft/v1/job_service_pb.js";
import type { Clock } from "../clock/clock.js";
import { grpcClient, type CallSettings, type GrpcChannel } from "../grpc/client.js";
import { FieldReader } from "../grpc/fields.js";
import { retry, type RetryPolicy } from "../retry/retry.js";
import type { JobService } from "./job-service.js";
import { readEvent, readResource, readResult, writePage, writePhases, writeReference, writeRequest } from "./messages.js";

export interface JobServiceOptions {
  readonly clock: Clock;
  /** Numbers in [0, 1), for the jitter. */
  readonly random: () => number;
  /** Ends what is under way, with its reason. */
  readonly signal?: AbortSignal;
  /** For a server that does not answer; default: a second or two. */
  readonly policy?: RetryPolicy;
  /** For a watch that has seen its job once; default: minutes, so that it outlives the server's restart. */
  readonly watchPolicy?: RetryPolicy;
  /** Default limits.grpcCallMs. */
  readonly deadlineMs?: number;
  /** Default limits.grpcWatchMs. */
  readonly watchMs?: number;
}

const briefly: RetryPolicy = { attemptsMax: limits.retryAttempts, firstDelayMs: limits.retryFirstDelayMs, totalMsMax: limits.retryTotalMs };
const patiently: RetryPolicy = {
  attemptsMax: Infinity,
  firstDelayMs: limits.retryFirstDelayMs,
  delayMsMax: limits.coordinatorRetryMs,
  totalMsMax: limits.coordinatorAwayMs,
};

/** The coordinator's JobService over gRPC. Every call may be repeated, and is; a watch goes on where it was after a restart of the server. */
export function grpcJobService(channel: GrpcChannel, options: JobServiceOptions): JobService {
  const { policy = briefly, watchPolicy = patiently, deadlineMs = limits.grpcCallMs, watchMs = limits.grpcWatchMs, signal } = options;
  const client = grpcClient(JobServiceSchema, channel);
  const call = <T>(operation: (settings: CallSettings) => Promise<T>, longest = deadlineMs): Promise<T> =>
    retry(policy, () => operation({ deadlineMs: longest, signal }), options);
  const answer = (method: string): FieldReader => new FieldReader(`${method}: answer of ${channel.address}`, "CONTRACT_MISMATCH");

  return {
    async submitJob(requestId, job) {
      const response = await call((settings) => client.submitJob({ requestId, job: writeRequest(job) }, settings));
      return readResource(answer("SubmitJob"), response.job);
    },
    async planJob(job, read) {
      const request = { job: writeRequest(job), read };
      const { text, json } = await call((settings) => client.planJob(request, settings), limits.grpcPlanMs);
      const fields = answer("PlanJob");
      return { text: fields.present("text", text), json: fields.present("json", json) };
    },
    async getJob(job) {
      const response = await call((settings) => client.getJob({ job: writeReference(job) }, settings));
      return readResource(answer("GetJob"), response.job);
    },
    async listJobs(page) {
      const { namespace, phases } = page;
      const request = { ...writePage(page), ...(namespace === undefined ? {} : { namespace }), phases: writePhases(phases) };
      const { jobs, nextPageToken = "" } = await call((settings) => client.listJobs(request, settings));
      return { jobs: jobs.map((job) => readResource(answer("ListJobs"), job)), nextPageToken };
    },
    async *watchJob(job, resourceVersion, watchSignal) {
      const both = signal === undefined ? watchSignal : AbortSignal.any([signal, watchSignal]);
      const waiting = { ...options, signal: both };
      let seen = resourceVersion;
      for (let reach = policy; ; reach = watchPolicy) {
        // 1. Somebody is there and knows the job. Only this is repeated under a policy: a watch itself may be silent for longer than any.
        await retry(reach, () => client.getJob({ job: writeReference(job) }, { deadlineMs, signal: both }), waiting);
        // 2. States, until the job's end or until the server goes away.
        try {
          const request = { job: writeReference(job), ...(seen === undefined ? {} : { resourceVersion: seen }) };
          for await (const response of client.watchJob(request, { deadlineMs: watchMs, signal: both })) {
            const resource = readResource(answer("WatchJob"), response.job);
            seen = resource.metadata.resourceVersion ?? seen;
            yield resource;
          }
          return;
        } catch (error) {
          if (!(error instanceof CodedError && errorCodes[error.code].retryable)) throw error;
          await options.clock.sleep(watchPolicy.firstDelayMs, both);
        }
      }
    },
    async suspendJob(job) {
      const response = await call((settings) => client.suspendJob({ job: writeReference(job) }, settings));
      return readResource(answer("SuspendJob"), response.job);
    },
    async resumeJob(job) {
      const response = await call((settings) => client.resumeJob({ job: writeReference(job) }, settings));
      return readResource(answer("ResumeJob"), response.job);
    },
    async cancelJob(job) {
      const response = await call((settings) => client.cancelJob({ job: writeReference(job) }, settings));
      return readResource(answer("CancelJob"), response.job);
    },
    async getResult(job) {
      return readResult(answer("GetResult"), await call((settings) => client.getResult({ job: writeReference(job) }, settings)));
    },
    async *readResultFile(job, path, offset, readSignal) {
      const both = signal === undefined ? readSignal : AbortSignal.any([signal, readSignal]);
      let reached = offset;
      for (;;) {
        // 1. The next bytes, from a new stream where the last one was cut. Only this is repeated: a reader may take its time with what it has.
        const request = { job: writeReference(job), path, offset: BigInt(reached) };
        const { stream, first } = await retry(
          policy,
          async () => {
            const stream = client.readResultFile(request, { deadlineMs: limits.grpcReadMs, signal: both })[Symbol.asyncIterator]();
            return { stream, first: await stream.next() };
          },
          { ...options, signal: both },
        );
        // 2. The rest of the stream.
        try {
          for (let next = first; next.done !== true; next = await stream.next()) {
            const data = answer("ReadResultFile").present("data", next.value.data);
            reached += data.length;
            yield data;
          }
          return;
        } catch (error) {
          if (!(error instanceof CodedError && errorCodes[error.code].retryable)) throw error;
        } finally {
          await stream.return?.();
        }
      }
    },
    async explainJob(job) {
      const { reasons } = await call((settings) => client.explainJob({ job: writeReference(job) }, settings));
      const fields = answer("ExplainJob");
      return reasons.map(({ subject, message, depth }) => ({
        subject: fields.text("subject", subject),
        message: fields.present("message", message),
        depth: fields.count("depth", depth),
      }));
    },
    async listJobEvents(job, page) {
      const request = { job: writeReference(job), ...writePage(page) };
      const { events, nextPageToken = "" } = await call((settings) => client.listJobEvents(request, settings));
      return { events: events.map((event) => readEvent(answer("ListJobEvents"), event)), nextPageToken };
    },
  };
}
