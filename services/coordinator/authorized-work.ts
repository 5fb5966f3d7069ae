import { CodedError } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { printable } from "../../domain/job/figures.js";
import type { CommittedShard, TaskCommit } from "../../domain/job/records.js";
import type { Access, Caller } from "../../platform/access/access.js";
import type {
  Joined,
  LeasedTask,
  Member,
  ReportedEvaluation,
  StepReport,
  TaskClaim,
  TaskProgress,
  WorkerFailure,
  WorkService,
} from "../../platform/work-service/work-service.js";

export interface AuthorizedWorkDeps {
  readonly work: WorkService;
  readonly access: Access;
}

/** The work that one caller may do: a pod that of the job that it was made for, and only under its own name; who is not bound to a pod, all of it. */
export class AuthorizedWork implements WorkService {
  private readonly deps: AuthorizedWorkDeps;
  private readonly caller: Caller;

  constructor(deps: AuthorizedWorkDeps, caller: Caller) {
    this.deps = deps;
    this.caller = caller;
  }

  async claimTask(worker: string, profile: NumericsProfile, jobId?: string): Promise<TaskClaim> {
    return this.deps.work.claimTask(worker, profile, await this.permitted(worker, jobId));
  }

  async heartbeatTask(task: LeasedTask, progress: TaskProgress): Promise<"kept" | "lost"> {
    await this.ofTask(task);
    return this.deps.work.heartbeatTask(task, progress);
  }

  async lookupFeatures(task: LeasedTask, imageIds: Uint8Array, view: number): Promise<Uint8Array> {
    await this.ofTask(task);
    return this.deps.work.lookupFeatures(task, imageIds, view);
  }

  async commitTask(task: LeasedTask, commit: TaskCommit): Promise<"committed" | "already committed"> {
    await this.ofTask(task);
    return this.deps.work.commitTask(task, commit);
  }

  async appendShards(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    await this.ofTask(task);
    return this.deps.work.appendShards(task, shards);
  }

  async releaseTask(task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> {
    await this.ofTask(task);
    return this.deps.work.releaseTask(task, shards);
  }

  async joinTraining(
    trainer: string,
    profile: NumericsProfile,
    jobId: string | undefined,
    step: number | undefined,
    gone?: AbortSignal,
  ): Promise<Joined> {
    return this.deps.work.joinTraining(trainer, profile, await this.permitted(trainer, jobId), step, gone);
  }

  async reportMissingFeatures(member: Member, imageIds: readonly ImageId[]): Promise<void> {
    await this.asMember(member);
    return this.deps.work.reportMissingFeatures(member, imageIds);
  }

  async reportStep(member: Member, report: StepReport): Promise<number> {
    await this.asMember(member);
    return this.deps.work.reportStep(member, report);
  }

  async reportStall(member: Member, step: number, missing: readonly string[]): Promise<number> {
    await this.asMember(member);
    return this.deps.work.reportStall(member, step, missing);
  }

  async reportEvaluation(member: Member, evaluation: ReportedEvaluation): Promise<void> {
    await this.asMember(member);
    return this.deps.work.reportEvaluation(member, evaluation);
  }

  async commitCheckpoint(member: Member, step: number): Promise<void> {
    await this.asMember(member);
    return this.deps.work.commitCheckpoint(member, step);
  }

  async reportPhase(member: Member, phase: "Evaluating" | "Exporting"): Promise<void> {
    await this.asMember(member);
    return this.deps.work.reportPhase(member, phase);
  }

  async commitResult(member: Member): Promise<void> {
    await this.asMember(member);
    return this.deps.work.commitResult(member);
  }

  async reportFailure(failure: WorkerFailure): Promise<void> {
    await this.permitted(failure.worker, failure.jobId);
    return this.deps.work.reportFailure(failure);
  }

  private async ofTask({ worker, jobId }: LeasedTask): Promise<void> {
    await this.permitted(worker, jobId);
  }

  private async asMember({ trainer, jobId }: Member): Promise<void> {
    await this.permitted(trainer, jobId);
  }

  /** The job that this worker may work on; undefined for any. @throws CodedError ACCESS_DENIED for another job, or under another name */
  private async permitted(name: string, jobId: string | undefined): Promise<string | undefined> {
    const { worker: pod, user } = this.caller;
    if (pod === "anyone") return jobId;
    if (pod === undefined)
      throw new CodedError("ACCESS_DENIED", `${printable(user)} is no worker; call with the token that is mounted into a worker's pod`);
    const who = `pod ${printable(`${pod.namespace}/${pod.name}`)}`;
    if (name !== pod.name)
      throw new CodedError(
        "ACCESS_DENIED",
        `${who} calls as worker ${printable(JSON.stringify(name.slice(0, 100)))}; a worker has the name of its pod (--name POD_NAME)`,
      );
    const own = await this.deps.access.jobOfPod(pod);
    if (own === undefined)
      throw new CodedError(
        "ACCESS_DENIED",
        `${who} is no worker of a job: no GraftJob of its namespace owns the batch Job that owns it; workers are started by the coordinator alone`,
      );
    if (jobId !== undefined && jobId !== own)
      throw new CodedError(
        "ACCESS_DENIED",
        `${who} was made for job ${own}, and asks for job ${printable(JSON.stringify(jobId.slice(0, 80)))}; a worker on Kubernetes works for its own job only (--job UID)`,
      );
    return own;
  }
}
