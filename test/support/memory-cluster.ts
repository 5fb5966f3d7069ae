import { CodedError } from "../../domain/errors.js";
import type { JobSpec } from "../../domain/job/spec.js";
import type { JobResourceStatus } from "../../domain/job/resource.js";
import { FINALIZER, type GraftJobObject, type V1Job, workerJobName, type WorkerRole } from "../../formats/kubernetes/objects.js";
import type { PodState } from "../../formats/kubernetes/pod-report.js";
import type { Cluster, WorkerFollower } from "../../platform/cluster/cluster.js";
import type { JobFollower, JobName, JobNotice, JobResources } from "../../platform/job-resources/job-resources.js";

/** What an API server knows of GraftJobs and of their workers, in memory: objects with versions, finalizers, followers. The test is kubectl and the kubelet. */
export class MemoryCluster {
  readonly jobs = new Map<string, GraftJobObject>();
  readonly batchJobs = new Map<string, V1Job>();
  /** Namespaces that may be followed, and those of them that have PodTemplates. */
  readonly followable = new Set(["team"]);
  readonly templates = new Set(["team"]);
  /** What was told of jobs; the API server makes one of those that are the same. */
  readonly notices: (JobNotice & { readonly job: string })[] = [];
  /** Every change that was asked for, in order. */
  readonly changes: string[] = [];
  /** Runs before the next write of a status: another writer comes in between. */
  beforeStatus: (() => void) | undefined;
  /** Refuses the next creations of workers. */
  refusal: CodedError | undefined;
  /** Batch Jobs that are deleted stay until `finishDeletions`. */
  holdsDeletions = false;
  private version = 0;
  private readonly followers = new Set<JobFollower>();
  private readonly workerFollowers = new Map<WorkerFollower, string>();

  // ---- kubectl ----

  apply(name: string, spec: JobSpec = {}, namespace = "team"): GraftJobObject {
    return this.store({
      apiVersion: "graft.dev/v1alpha1",
      kind: "GraftJob",
      metadata: { name, namespace, uid: `uid-${name}`, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1 },
      spec: { dataset: { source: "s3://pictures/flowers/" }, ...spec },
    });
  }

  patch(name: string, spec: JobSpec): void {
    const job = this.job(name);
    this.store({
      ...job,
      metadata: { ...job.metadata, generation: (job.metadata.generation ?? 0) + 1 },
      spec: { ...job.spec, ...spec },
    });
  }

  eraseStatus(name: string): void {
    const { status: _, ...job } = this.job(name);
    this.store(job);
  }

  remove(name: string): void {
    const job = this.job(name);
    this.changes.push(`delete GraftJob ${name}`);
    if ((job.metadata.finalizers ?? []).length === 0) return this.forget(job);
    if (job.metadata.deletionTimestamp === undefined)
      this.store({ ...job, metadata: { ...job.metadata, deletionTimestamp: "2026-01-02T00:00:00Z" } });
  }

  job(name: string, namespace = "team"): GraftJobObject {
    const job = this.jobs.get(`${namespace}/${name}`);
    if (job === undefined) throw new Error(`no GraftJob ${namespace}/${name}`);
    return job;
  }

  // ---- the kubelet and the controllers of Kubernetes ----

  pod(name: string, role: WorkerRole, pod: string, state: PodState, isGone = false, namespace = "team"): void {
    const report = { name: pod, uid: `uid-${pod}`, jobUid: this.job(name, namespace).metadata.uid, role, state };
    for (const [follower, of] of this.workerFollowers) if (of === namespace) follower.podChanged(report, isGone);
  }

  finishDeletions(): void {
    for (const [key, job] of this.batchJobs) {
      if (job.metadata?.deletionTimestamp === undefined) continue;
      this.batchJobs.delete(key);
      for (const [follower, of] of this.workerFollowers) if (of === job.metadata.namespace) follower.jobGone(job);
    }
  }

  /** Pods that a job shall have of each role; -1 where no batch Job stands. */
  counts(name: string, namespace = "team"): Readonly<Record<WorkerRole, number>> {
    const { metadata } = this.job(name, namespace);
    const of = (role: WorkerRole): number => this.batchJobs.get(`${namespace}/${workerJobName(metadata, role)}`)?.spec?.parallelism ?? -1;
    return { extractor: of("extractor"), trainer: of("trainer") };
  }

  /** Somebody gives the coordinator its rights in a namespace. */
  prepare(namespace: string): void {
    this.followable.add(namespace);
    this.templates.add(namespace);
    for (const resolve of this.awaited.get(namespace) ?? []) resolve();
  }
  private readonly awaited = new Map<string, (() => void)[]>();

  // ---- what the coordinator uses ----

  readonly resources: JobResources = {
    follow: async (follower, signal) => {
      this.followers.add(follower);
      signal.addEventListener("abort", () => this.followers.delete(follower));
      for (const job of this.jobs.values()) follower.changed(job);
    },
    create: async ({ metadata, spec }) => {
      if (this.jobs.has(keyOf(metadata))) throw conflict(`GraftJob ${metadata.name} is there`);
      this.apply(metadata.name, spec, metadata.namespace);
      const job = this.job(metadata.name, metadata.namespace);
      return this.store({ ...job, metadata: { ...job.metadata, ...metadata } });
    },
    read: async (name) => this.jobs.get(keyOf(name)),
    writeStatus: async (job, status) => {
      this.beforeStatus?.();
      this.beforeStatus = undefined;
      const stands = this.same(job);
      if (stands === undefined) return undefined;
      const written: JobResourceStatus = status(stands);
      this.changes.push(`status ${job.metadata.name} ${written.phase}`);
      return this.store({ ...stands, status: written });
    },
    setSuspend: async (name, suspend) => {
      this.patch(name.name, { suspend });
      return this.job(name.name, name.namespace);
    },
    hold: async (job) => this.setFinalizers(job, [FINALIZER]),
    release: async (job) => {
      this.changes.push(`release ${job.metadata.name}`);
      this.setFinalizers(job, []);
    },
    delete: async ({ name }) => this.remove(name),
    tell: async (job, notice) => {
      this.notices.push({ ...notice, job: job.metadata.name });
    },
  };

  readonly cluster: Cluster = {
    follow: async (namespace, follower, signal) => {
      await Promise.resolve(); // an API server never answers before it was asked
      if (!this.followable.has(namespace)) {
        follower.onLost(new CodedError("CLUSTER_REFUSED", `jobs.batch is forbidden in ${namespace}`));
        await new Promise<void>((resolve) => {
          this.awaited.set(namespace, [...(this.awaited.get(namespace) ?? []), resolve]);
        });
      }
      this.workerFollowers.set(follower, namespace);
      signal.addEventListener("abort", () => this.workerFollowers.delete(follower));
      for (const job of this.batchJobs.values()) if (job.metadata?.namespace === namespace) follower.jobChanged(job);
    },
    template: async (namespace) =>
      this.templates.has(namespace) ? { spec: { containers: [{ name: "worker", image: "graft:test" }] } } : undefined,
    createWorkers: async (job) => {
      if (this.refusal !== undefined) throw this.refusal;
      const key = keyOf(job.metadata as JobName);
      if (this.batchJobs.has(key)) throw conflict(`Job ${key} is there`);
      this.changes.push(`create Job ${key}`);
      this.batch({ ...job, metadata: { ...job.metadata, uid: `uid-${String(++this.version)}` } });
    },
    scaleWorkers: async (job, count, suspended) => {
      const key = keyOf(job.metadata as JobName);
      const stands = this.batchJobs.get(key);
      if (stands?.spec === undefined) throw new CodedError("CLUSTER_NOT_FOUND", key);
      this.changes.push(`scale Job ${key} ${String(count)}`);
      this.batch({ ...stands, spec: { ...stands.spec, parallelism: count, suspend: suspended } });
    },
    deleteWorkers: async (job) => {
      const stands = this.batchJobs.get(keyOf(job.metadata as JobName));
      if (stands === undefined || stands.metadata?.uid !== job.metadata?.uid) return;
      this.changes.push(`delete Job ${keyOf(job.metadata as JobName)}`);
      this.batch({ ...stands, metadata: { ...stands.metadata, deletionTimestamp: new Date(0) } });
      if (!this.holdsDeletions) this.finishDeletions();
    },
    datasetCredentials: async () => undefined,
  };

  private same(job: GraftJobObject): GraftJobObject | undefined {
    const stands = this.jobs.get(keyOf(job.metadata));
    return stands?.metadata.uid === job.metadata.uid ? stands : undefined;
  }

  private setFinalizers(job: GraftJobObject, finalizers: readonly string[]): void {
    const stands = this.same(job);
    if (stands === undefined) return;
    if (finalizers.length === 0 && stands.metadata.deletionTimestamp !== undefined) return this.forget(stands);
    if (String(stands.metadata.finalizers ?? []) !== String(finalizers))
      this.store({ ...stands, metadata: { ...stands.metadata, finalizers } });
  }

  private store(job: GraftJobObject): GraftJobObject {
    const stored = { ...job, metadata: { ...job.metadata, resourceVersion: String(++this.version) } };
    this.jobs.set(keyOf(job.metadata), stored);
    for (const follower of this.followers) follower.changed(stored);
    return stored;
  }

  private forget(job: GraftJobObject): void {
    this.jobs.delete(keyOf(job.metadata));
    for (const follower of this.followers) follower.gone(job);
  }

  private batch(job: V1Job): void {
    this.batchJobs.set(keyOf(job.metadata as JobName), job);
    for (const [follower, of] of this.workerFollowers) if (of === job.metadata?.namespace) follower.jobChanged(job);
  }
}

function keyOf({ namespace, name }: JobName): string {
  return `${namespace}/${name}`;
}

function conflict(message: string): CodedError {
  return new CodedError("CLUSTER_CONFLICT", message);
}
