import { CodedError } from "../../domain/errors.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { jobIdFromRequest } from "../../domain/job/job-id.js";
import type { JobRecord } from "../../domain/job/records.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobResource, JobResultSummary } from "../../domain/job/resource.js";
import { isFinal } from "../../domain/job/transitions.js";
import { limits } from "../../domain/limits.js";
import type { JobName, NewGraftJob } from "../../platform/job-resources/job-resources.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import type {
  JobReference,
  JobRequest,
  JobResult,
  JobService,
  ListJobs,
  Page,
  Reason,
  RecordedEvent,
  ResultFile,
} from "../../platform/job-service/job-service.js";
import { explainJob } from "./explain.js";
import { REQUEST_ID_ANNOTATION } from "./controller/job-controller.js";
import { findJob, jobNotFound } from "./find-job.js";
import { type Jobs, type KnownJob, namespaceOf } from "./jobs.js";

export interface JobRequestsDeps {
  readonly jobs: Jobs;
  /** On Kubernetes: the records of jobs, which kubectl writes too. */
  readonly records?: JobRecords | undefined;
  /** `graft plan` for a job that is not submitted. */
  readonly plan: (job: ResolvedJob, request: JobRequest, read: boolean) => Promise<{ readonly text: string; readonly json: string }>;
  /** A reference to an object of the store that can be read for a while without credentials. */
  readonly urlOf: (key: string) => Promise<string | undefined>;
}

/** Records of jobs that are kept elsewhere than in the store. */
export interface JobRecords {
  /** Checks what admission cannot. @throws CodedError SPEC_INVALID */
  resolve(job: Pick<NewGraftJob, "metadata" | "spec">): ResolvedJob;
  /** @throws CodedError CLUSTER_CONFLICT where there is one of that name */
  submit(job: NewGraftJob): Promise<KnownJob>;
  find(name: JobName): Promise<KnownJob | undefined>;
  suspend(job: KnownJob, suspend: boolean): Promise<void>;
}

/** The namespace of jobs of whom nobody says another, as kubectl has it. */
const DEFAULT_NAMESPACE = "default";

/** What people and programs ask of jobs. */
export class JobRequests implements JobService {
  private readonly deps: JobRequestsDeps;

  constructor(deps: JobRequestsDeps) {
    this.deps = deps;
  }

  async submitJob(requestId: string, request: JobRequest): Promise<JobResource> {
    const { jobs, records } = this.deps;
    const namespace = this.namespaceOf(request.metadata.namespace);
    const earlier = jobs.all.find(
      ({ record }) => record.requestId === requestId && (records === undefined || namespaceOf(record) === namespace),
    );
    if (earlier !== undefined) return jobs.resource(earlier);
    const name = nameOf(request.metadata.name, jobIdFromRequest(requestId));
    const job = this.resolve({ ...request, metadata: { ...request.metadata, name } });
    if (records === undefined) return jobs.resource(await this.submitToStore(requestId, name, request, job));
    await jobs.deps.enginesOf(job); // before there is a GraftJob that can only fail
    return jobs.resource(await submitAsResource(records, requestId, { name, namespace }, request));
  }

  private async submitToStore(requestId: string, name: string, { metadata, spec }: JobRequest, job: ResolvedJob): Promise<KnownJob> {
    const { jobs } = this.deps;
    if (!job.dataset.source.startsWith("s3://") && !job.dataset.source.startsWith("/"))
      throw new CodedError(
        "SPEC_INVALID",
        `job ${name}: dataset.source: ${JSON.stringify(job.dataset.source)} is relative; a server needs s3://bucket/prefix/ or an absolute folder that all of its workers see; "graft submit --upload DIR" puts a folder into the store`,
        { problems: [{ path: "dataset.source", message: "must be s3://bucket/prefix/ or an absolute folder" }] },
      );
    const namesake = jobs.all.find((other) => other.record.name === name && !isFinal(other.board.state.phase));
    if (namesake !== undefined)
      throw new CodedError(
        "JOB_EXISTS",
        `a job named ${name} has not ended (${namesake.jobId}); give another metadata.name, or cancel that one`,
      );
    await jobs.deps.enginesOf(job); // a backbone or a cut that there is not is refused here
    const submittedMs = jobs.deps.clock.now();
    const record: JobRecord = { formatVersion: 1, requestId, name, out: `${name}-model`, submittedMs, job, request: { metadata, spec } };
    const added = await jobs.add(jobIdFromRequest(requestId), record);
    if (spec.suspend === true && added.outcome === "created") added.job.log.append("request", "submitted with suspend: true");
    return added.job;
  }

  async planJob(request: JobRequest, read: boolean): Promise<{ readonly text: string; readonly json: string }> {
    return this.deps.plan(
      this.resolve(request),
      { ...request, metadata: { ...request.metadata, namespace: this.namespaceOf(request.metadata.namespace) } },
      read,
    );
  }

  /** @throws CodedError SPEC_INVALID */
  private resolve({ metadata, spec }: JobRequest): ResolvedJob {
    const { records } = this.deps;
    const { name = "" } = metadata;
    if (records !== undefined) return records.resolve({ metadata: { name, namespace: this.namespaceOf(metadata.namespace) }, spec });
    return resolveJob(spec, `job ${name}`.trim(), "coordinator");
  }

  /** "" outside Kubernetes, whatever a caller says. */
  private namespaceOf(namespace: string | undefined): string {
    if (this.deps.records === undefined) return "";
    return namespace === undefined || namespace === "" ? DEFAULT_NAMESPACE : namespace;
  }

  async getJob(reference: JobReference): Promise<JobResource> {
    return this.deps.jobs.resource(this.find(reference));
  }

  async listJobs({
    namespace,
    phases = [],
    pageSize,
    pageToken,
  }: ListJobs): Promise<{ readonly jobs: readonly JobResource[]; readonly nextPageToken: string }> {
    const all = this.deps.jobs.all
      .filter(({ record }) => namespace === undefined || this.deps.records === undefined || namespaceOf(record) === namespace)
      .map((job) => this.deps.jobs.resource(job))
      .filter(({ status }) => phases.length === 0 || phases.includes(status.phase))
      .sort((a, b) => (placeOf(a) < placeOf(b) ? 1 : -1));
    const after = pageToken === undefined || pageToken === "" ? all : all.filter((job) => placeOf(job) < decodeToken(pageToken));
    const page = after.slice(0, sizeOf(pageSize));
    const last = page.at(-1);
    return { jobs: page, nextPageToken: page.length < after.length && last !== undefined ? encodeToken(placeOf(last)) : "" };
  }

  async *watchJob(reference: JobReference, resourceVersion: string | undefined, signal: AbortSignal): AsyncGenerator<JobResource> {
    const { jobs } = this.deps;
    const job = this.find(reference);
    let seen = resourceVersion;
    while (!signal.aborted) {
      const resource = jobs.resource(job);
      if (resource.metadata.resourceVersion !== seen) {
        seen = resource.metadata.resourceVersion;
        yield resource;
        if (isFinal(job.board.state.phase)) return;
        // Progress comes many times a second; a watcher gets the latest.
        await jobs.deps.clock.sleep(limits.watchMs, signal).catch(() => undefined);
      } else if (isFinal(job.board.state.phase)) return;
      else await job.bell.next(jobs.deps.clock, limits.longPollMs, signal);
    }
  }

  async suspendJob(reference: JobReference): Promise<JobResource> {
    return this.request(reference, "suspend");
  }

  async resumeJob(reference: JobReference): Promise<JobResource> {
    return this.request(reference, "resume");
  }

  async cancelJob(reference: JobReference): Promise<JobResource> {
    return this.request(reference, "cancel");
  }

  async getResult(reference: JobReference): Promise<JobResult> {
    const { job, result } = this.complete(reference);
    const objects = new JobObjects(this.deps.jobs.deps.store, job.jobId);
    const files: ResultFile[] = [];
    let metricsJson = "";
    for await (const path of objects.resultFiles()) {
      const body = await objects.readResult(path);
      if (body === undefined) continue;
      if (path === "metrics.json") metricsJson = Buffer.from(body).toString("utf8");
      files.push({ path, bytes: body.length, sha256: sha256Hex(body), url: await this.deps.urlOf(objects.keyOf(`result/${path}`)) });
    }
    return { summary: result, metricsJson, files };
  }

  async *readResultFile(reference: JobReference, path: string, offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { job } = this.complete(reference);
    const objects = new JobObjects(this.deps.jobs.deps.store, job.jobId);
    const bytes = await objects.resultFileBytes(path);
    if (bytes === undefined)
      throw new CodedError(
        "REQUEST_INVALID",
        `job ${job.record.name}: its result has no file ${JSON.stringify(path.slice(0, 200))}; GetResult names those that there are`,
      );
    if (offset > bytes) throw new CodedError("REQUEST_INVALID", `offset: must be at most ${bytes}, the length of ${path}; found ${offset}`);
    for (let from = offset; from < bytes && !signal.aborted; from += limits.resultChunkBytes) {
      const chunk = await objects.readResultRange(path, from, Math.min(from + limits.resultChunkBytes, bytes));
      if (chunk === undefined)
        throw new CodedError("OBJECT_MISSING", `${objects.keyOf(`result/${path}`)} is gone; restore the store, or run the job anew`);
      yield chunk;
    }
  }

  async explainJob(reference: JobReference): Promise<readonly Reason[]> {
    return explainJob(this.deps.jobs, this.find(reference));
  }

  async listJobEvents(
    reference: JobReference,
    { pageSize, pageToken }: Page,
  ): Promise<{ readonly events: readonly RecordedEvent[]; readonly nextPageToken: string }> {
    const job = this.find(reference);
    const from = pageToken === undefined || pageToken === "" ? 0 : Number(decodeToken(pageToken));
    await job.log.flush();
    const { events, next } = await job.log.read(from, sizeOf(pageSize));
    return { events, nextPageToken: encodeToken(String(next)) };
  }

  private async request(reference: JobReference, action: "suspend" | "resume" | "cancel"): Promise<JobResource> {
    const job = this.find(reference);
    if (action !== "cancel" && this.deps.records !== undefined) await this.deps.records.suspend(job, action === "suspend");
    else await this.deps.jobs.request(job, action);
    return this.deps.jobs.resource(job);
  }

  /** @throws CodedError JOB_NOT_FOUND, JOB_NOT_COMPLETE */
  private complete(reference: JobReference): { readonly job: KnownJob; readonly result: JobResultSummary } {
    const job = this.find(reference);
    const { result } = job.board.current;
    if (job.board.state.phase === "Complete" && result !== undefined) return { job, result };
    throw new CodedError(
      "JOB_NOT_COMPLETE",
      `job ${job.record.name} is ${job.board.state.phase}: it has no result${isFinal(job.board.state.phase) ? "" : " yet"}`,
    );
  }

  /** Without a namespace by name in the default one, as with kubectl; by id in all. */
  private find(reference: JobReference): KnownJob {
    const home = this.deps.records === undefined ? undefined : DEFAULT_NAMESPACE;
    const found = findJob(this.deps.jobs, reference, home);
    if (found === undefined) throw jobNotFound(reference, home);
    return found;
  }
}

/** The same request id is the same job; another job of that name is in the way, whether it has ended or not. */
async function submitAsResource(records: JobRecords, requestId: string, at: JobName, { metadata, spec }: JobRequest): Promise<KnownJob> {
  const { labels, annotations } = metadata;
  try {
    return await records.submit({
      metadata: { ...at, ...(labels && { labels }), annotations: { ...annotations, [REQUEST_ID_ANNOTATION]: requestId } },
      spec,
    });
  } catch (error) {
    if (!(error instanceof CodedError && error.code === "CLUSTER_CONFLICT")) throw error;
    const stands = await records.find(at);
    if (stands?.record.requestId === requestId) return stands;
    throw new CodedError(
      "JOB_EXISTS",
      `namespace ${at.namespace} has a GraftJob ${at.name}; give another metadata.name, or delete that one`,
    );
  }
}

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

function nameOf(name: string | undefined, jobId: string): string {
  if (name === undefined || name === "") return `job-${jobId.slice(0, 8)}`;
  if (namePattern.test(name)) return name;
  throw new CodedError(
    "SPEC_INVALID",
    `metadata.name: must be at most 63 lower-case letters, digits and "-", found ${JSON.stringify(name.slice(0, 80))}`,
    {
      problems: [{ path: "metadata.name", message: 'must be at most 63 lower-case letters, digits and "-"' }],
    },
  );
}

/** Newest first, and of one moment by id. */
function placeOf({ metadata: { creationTimestamp = "", uid = "" } }: JobResource): string {
  return `${creationTimestamp} ${uid}`;
}

function sizeOf(pageSize: number | undefined): number {
  const size = pageSize ?? 100;
  if (Number.isInteger(size) && size >= 1 && size <= 1000) return size;
  throw new CodedError("REQUEST_INVALID", `page_size: must be 1 to 1000, found ${String(size)}`);
}

function encodeToken(place: string): string {
  return Buffer.from(place).toString("base64url");
}

function decodeToken(token: string): string {
  const place = Buffer.from(token, "base64url").toString("utf8");
  if (token.length > 0 && encodeToken(place) === token) return place;
  throw new CodedError("REQUEST_INVALID", "page_token: is not one that a response gave; leave it out for the first page");
}
