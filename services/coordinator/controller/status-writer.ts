import { canonicalJson } from "../../../domain/canonical-json.js";
import { mergeConditions } from "../../../domain/job/conditions.js";
import type { JobResourceStatus } from "../../../domain/job/resource.js";
import { resourceStatus } from "../../../domain/job/status.js";
import type { GraftJobObject } from "../../../formats/kubernetes/objects.js";
import type { Clock } from "../../../platform/clock/clock.js";
import type { JobNotice, JobResources } from "../../../platform/job-resources/job-resources.js";
import { type Entry, isNewer, statusOf } from "./entry.js";
import { noticeOf, toldOf } from "./notices.js";

export interface StatusWriterDeps {
  readonly resources: JobResources;
  readonly clock: Clock;
  /** Least time between two writes of one job's progress. */
  readonly progressMs: number;
  readonly onFailure: (jobId: string, error: unknown) => void;
  /** Has the job looked at again after that time. */
  readonly again: (jobUid: string, afterMs: number) => void;
}

/** What GraftJobs say of themselves: their status, which is a projection of the job's own, and events. */
export class StatusWriter {
  private readonly deps: StatusWriterDeps;

  constructor(deps: StatusWriterDeps) {
    this.deps = deps;
  }

  /** Writes the status where it differs from what stands: a change of state at once, progress now and then. What others made of it is mended. */
  async write(entry: Entry): Promise<void> {
    const { clock, resources, progressMs } = this.deps;
    const status = statusOf(entry);
    if (status === undefined) return;
    const time = new Date(clock.now()).toISOString();
    const project = (stands: GraftJobObject): JobResourceStatus => {
      const { generation } = stands.metadata;
      const shown = resourceStatus(status);
      const conditions = mergeConditions(stands.status?.conditions ?? [], shown.conditions ?? [], { time, generation });
      return { ...shown, conditions, ...(generation !== undefined && { observedGeneration: generation }) };
    };
    const wanted = canonicalJson(project(entry.resource));
    const stands = canonicalJson(entry.resource.status ?? {});
    const { written } = entry;
    if (wanted === stands || (written?.wanted === wanted && written.got === stands)) return;
    const isTold = entry.told === toldOf(status) && entry.resource.status?.phase !== undefined;
    const leftMs = isTold && written !== undefined ? written.atMs + progressMs - clock.monotonic() : 0;
    if (leftMs > 0) return this.deps.again(entry.resource.metadata.uid, leftMs);
    const now = await resources.writeStatus(entry.resource, project);
    if (now === undefined) return;
    entry.written = { wanted, got: canonicalJson(now.status ?? {}), atMs: clock.monotonic() };
    if (isNewer(now, entry.resource)) entry.resource = now;
    if (entry.told === toldOf(status)) return;
    entry.told = toldOf(status);
    const notice = noticeOf(status);
    if (notice !== undefined) await this.tell(entry.resource, notice.type, notice.reason, notice.message);
  }

  /** An event less is no harm. */
  async tell(resource: GraftJobObject, type: JobNotice["type"], reason: string, message: string): Promise<void> {
    await this.deps.resources
      .tell(resource, { type, reason, message })
      .catch((error: unknown) => this.deps.onFailure(resource.metadata.uid, error));
  }
}
