import { CodedError } from "../../../domain/errors.js";
import type { GraftJobObject, V1Job, WorkerRole } from "../../../formats/kubernetes/objects.js";
import { JOB_UID_LABEL, workerJobName, workerRoles } from "../../../formats/kubernetes/objects.js";
import { isOfOtherPods, isQueued, workerJob, type WorkerGroup } from "../../../formats/kubernetes/worker-job.js";
import type { PodReport } from "../../../formats/kubernetes/pod-report.js";
import type { Cluster } from "../../../platform/cluster/cluster.js";
import type { RoleProblem } from "../../../domain/job/worker-health.js";

/** Where jobs run as pods: the batch Jobs that stand, by job and role, kept current by the API server's own word. */
export class WorkerPods {
  private readonly cluster: Cluster;
  private readonly signal: AbortSignal;
  private readonly stands = new Map<string, Map<WorkerRole, V1Job>>();
  /** Per namespace: whether it can be followed, and if not why. */
  private readonly namespaces = new Map<string, { problem: string | undefined; readonly followed: Promise<void> }>();
  private readonly onPod: (report: PodReport, isGone: boolean) => void;
  private readonly onChange: (jobUid: string) => void;
  private readonly onLost: (error: unknown) => void;

  constructor(
    cluster: Cluster,
    on: {
      readonly pod: (report: PodReport, isGone: boolean) => void;
      readonly change: (jobUid: string) => void;
      readonly lost: (error: unknown) => void;
    },
    signal: AbortSignal,
  ) {
    this.cluster = cluster;
    this.signal = signal;
    this.onPod = on.pod;
    this.onChange = on.change;
    this.onLost = on.lost;
  }

  /** Begins to follow the workers of a namespace; resolves once those that there are are known, or it is known that they cannot be. */
  async follow(namespace: string): Promise<void> {
    const known = this.namespaces.get(namespace);
    if (known !== undefined) return known.followed;
    let isListed = false;
    let isRefused: () => void = () => undefined;
    const refused = new Promise<void>((resolve) => (isRefused = resolve));
    const listed = this.cluster.follow(
      namespace,
      {
        jobChanged: (job) => this.note(job, true),
        jobGone: (job) => this.note(job, false),
        podChanged: this.onPod,
        onLost: (error) => {
          if (!isListed && error instanceof CodedError && error.code === "CLUSTER_REFUSED") {
            entry.problem = `namespace ${namespace} is not prepared for graft (${error.message}); apply deploy/k8s/namespace there, docs/kubernetes.md says how`;
            isRefused();
          } else this.onLost(error);
        },
      },
      this.signal,
    );
    const entry = {
      problem: undefined as string | undefined,
      followed: Promise.race([listed, refused]),
    };
    void listed.then(() => {
      isListed = true;
      entry.problem = undefined;
    });
    this.namespaces.set(namespace, entry);
    return entry.followed;
  }

  /** Whether any batch Job of a job stands. */
  has(jobUid: string): boolean {
    return (this.stands.get(jobUid)?.size ?? 0) > 0;
  }

  /** Brings the workers of one role to what is wanted; what keeps that from being done comes back, for people. */
  async apply(job: GraftJobObject, group: WorkerGroup): Promise<RoleProblem | undefined> {
    const { role, count, suspended } = group;
    const { namespace, name, uid } = job.metadata;
    const problem = this.namespaces.get(namespace)?.problem;
    if (problem !== undefined) return { role, message: problem };
    const stands = this.stands.get(uid)?.get(role);
    try {
      if (stands === undefined) {
        if (count === 0) return undefined;
        const template = await this.cluster.template(namespace, role);
        if (template === undefined)
          return {
            role,
            message: `namespace ${namespace} has no PodTemplate ${workerRoles[role]}, from which ${role}s are made; apply deploy/k8s/namespace there, docs/kubernetes.md says how`,
          };
        await this.cluster.createWorkers(workerJob(job, template, group));
        return undefined;
      }
      if (stands.metadata?.deletionTimestamp !== undefined) return undefined; // made anew when it is gone
      if (stands.metadata?.ownerReferences?.some((owner) => owner.uid === uid) !== true)
        return {
          role,
          message: `Job ${namespace}/${workerJobName(job.metadata, role)} is not this job's; delete it, or give this job another name`,
        };
      const hasEnded = stands.status?.conditions?.some(
        ({ type, status }) => (type === "Complete" || type === "Failed") && status === "True",
      );
      if (isOfOtherPods(job, role, stands) || (count > 0 && hasEnded === true)) await this.cluster.deleteWorkers(stands);
      else if (isQueued(job, role)) {
        // Kueue says when pods may run; what is not needed makes way for others in its queue.
        if (count === 0 || suspended) await this.cluster.deleteWorkers(stands);
      } else if (hasEnded !== true && (stands.spec?.parallelism !== count || stands.spec.suspend !== suspended))
        await this.cluster.scaleWorkers(stands, count, suspended);
      return undefined;
    } catch (error) {
      if (error instanceof CodedError && error.code === "CLUSTER_REFUSED")
        return { role, message: `${role}s of ${namespace}/${name} cannot be made: ${error.message}` };
      if (error instanceof CodedError && (error.code === "CLUSTER_NOT_FOUND" || error.code === "CLUSTER_CONFLICT")) return undefined; // it has changed meanwhile: its next event brings us here again
      throw error;
    }
  }

  /** Deletes the workers of a job; false while some are left. */
  async deleteAll(jobUid: string): Promise<boolean> {
    const stands = [...(this.stands.get(jobUid)?.values() ?? [])];
    for (const job of stands) if (job.metadata?.deletionTimestamp === undefined) await this.cluster.deleteWorkers(job);
    return stands.length === 0;
  }

  private note(job: V1Job, isThere: boolean): void {
    const uid = job.metadata?.labels?.[JOB_UID_LABEL];
    const role = (Object.keys(workerRoles) as WorkerRole[]).find((each) => job.metadata?.labels?.["app.kubernetes.io/component"] === each);
    if (uid === undefined || role === undefined) return;
    const own = this.stands.get(uid) ?? new Map<WorkerRole, V1Job>();
    if (isThere) own.set(role, job);
    else if (own.get(role)?.metadata?.uid === job.metadata?.uid) own.delete(role);
    if (own.size === 0) this.stands.delete(uid);
    else this.stands.set(uid, own);
    this.onChange(uid);
  }
}
