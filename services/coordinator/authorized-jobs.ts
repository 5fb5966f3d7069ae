import { CodedError } from "../../domain/errors.js";
import { printable } from "../../domain/job/figures.js";
import type { JobResource } from "../../domain/job/resource.js";
import type { Access, Caller, Verb } from "../../platform/access/access.js";
import type { JobReference, JobRequest, JobResult, JobService, ListJobs, Page, Reason } from "../../platform/job-service/job-service.js";
import { findJob, jobNotFound } from "./find-job.js";
import { type Jobs, namespaceOf } from "./jobs.js";

export interface AuthorizedJobsDeps {
  readonly requests: JobService;
  readonly jobs: Jobs;
  readonly access: Access;
}

/**
 * The jobs as one caller may see and change them: what kubectl lets a user do to GraftJobs, the user may do here, in the same namespaces.
 * Who may not read a job cannot find out whether it is there. Streams are checked when they are opened, as those of kubectl are.
 */
export class AuthorizedJobs implements JobService {
  private readonly deps: AuthorizedJobsDeps;
  private readonly caller: Caller;

  constructor(deps: AuthorizedJobsDeps, caller: Caller) {
    this.deps = deps;
    this.caller = caller;
  }

  async submitJob(requestId: string, job: JobRequest): Promise<JobResource> {
    return this.deps.requests.submitJob(requestId, await this.placed(job));
  }

  async planJob(job: JobRequest, read: boolean): Promise<{ readonly text: string; readonly json: string }> {
    return this.deps.requests.planJob(await this.placed(job), read);
  }

  async getJob(job: JobReference): Promise<JobResource> {
    return this.deps.requests.getJob(await this.permitted("get", job));
  }

  async listJobs(page: ListJobs): Promise<{ readonly jobs: readonly JobResource[]; readonly nextPageToken: string }> {
    await this.check("list", page.namespace ?? "");
    return this.deps.requests.listJobs(page);
  }

  async *watchJob(job: JobReference, resourceVersion: string | undefined, signal: AbortSignal): AsyncGenerator<JobResource> {
    yield* this.deps.requests.watchJob(await this.permitted("get", job), resourceVersion, signal);
  }

  async suspendJob(job: JobReference): Promise<JobResource> {
    return this.deps.requests.suspendJob(await this.permitted("update", job));
  }

  async resumeJob(job: JobReference): Promise<JobResource> {
    return this.deps.requests.resumeJob(await this.permitted("update", job));
  }

  async cancelJob(job: JobReference): Promise<JobResource> {
    return this.deps.requests.cancelJob(await this.permitted("delete", job));
  }

  async getResult(job: JobReference): Promise<JobResult> {
    return this.deps.requests.getResult(await this.permitted("get", job));
  }

  async *readResultFile(job: JobReference, path: string, offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    yield* this.deps.requests.readResultFile(await this.permitted("get", job), path, offset, signal);
  }

  async explainJob(job: JobReference): Promise<readonly Reason[]> {
    return this.deps.requests.explainJob(await this.permitted("get", job));
  }

  async listJobEvents(job: JobReference, page: Page): ReturnType<JobService["listJobEvents"]> {
    return this.deps.requests.listJobEvents(await this.permitted("get", job), page);
  }

  /** The request with the namespace that it is for, where the caller may make jobs. @throws CodedError ACCESS_DENIED */
  private async placed({ metadata, spec }: JobRequest): Promise<JobRequest> {
    const namespace = metadata.namespace === "" ? undefined : metadata.namespace;
    const chosen = namespace ?? this.caller.namespace;
    await this.check("create", chosen ?? "");
    return { metadata: chosen === undefined ? metadata : { ...metadata, namespace: chosen }, spec };
  }

  /** A reference to the one job that is meant, which the caller may do this to. @throws CodedError ACCESS_DENIED, JOB_NOT_FOUND */
  private async permitted(verb: Verb, reference: JobReference): Promise<JobReference> {
    const { access, jobs } = this.deps;
    const { namespace: home } = this.caller;
    if (home === undefined) {
      await this.check(verb, "", reference.name);
      return reference;
    }
    const found = findJob(jobs, reference, home);
    const namespace = found === undefined ? "" : namespaceOf(found.record);
    if (found !== undefined && namespace !== "" && (await access.mayDo(this.caller, verb, namespace, found.record.name)))
      return { namespace, name: found.jobId };
    // From here on nothing depends on whether a job was found.
    await this.check(verb, reference.namespace ?? home, reference.name);
    throw jobNotFound(reference, home);
  }

  private async check(verb: Verb, namespace: string, name?: string): Promise<void> {
    const { caller } = this;
    if (await this.deps.access.mayDo(caller, verb, namespace, name)) return;
    const what = `graftjobs.graft.dev${name === undefined ? "" : ` ${printable(JSON.stringify(name.slice(0, 80)))}`}`;
    const where = namespace === "" ? "in all namespaces" : `in namespace ${printable(namespace.slice(0, 80))}`;
    const role = verb === "get" || verb === "list" ? "graft-viewer" : "graft-editor";
    throw new CodedError(
      "ACCESS_DENIED",
      `user ${printable(caller.user)} may not ${verb} ${what} ${where}; ` +
        (namespace === "" && verb === "list"
          ? "name one namespace, or ask for a ClusterRoleBinding"
          : "ask its owner for a RoleBinding there") +
        ` to ClusterRole ${role} ("kubectl auth can-i --list" shows what a user may do)`,
    );
  }
}
