/** Pods that end because the job asks for fewer have ended after this: the grace period of the PodTemplates, and some. */
const LAST_MS = 60_000;

/** How many pods of one role the job asks for, and which of those that end do so because it asked for fewer: Kubernetes says only that it ended them. */
export class SparePods {
  private count = 0;
  private spare = 0;
  private untilMs = 0;

  /** The job asks for so many from `nowMs` on. */
  ask(count: number, nowMs: number): void {
    if (nowMs >= this.untilMs) this.spare = 0;
    if (count < this.count) this.untilMs = nowMs + LAST_MS;
    this.spare = Math.max(0, this.spare + this.count - count);
    this.count = count;
  }

  /** Whether a pod that Kubernetes ended was one too many. */
  takes(nowMs: number): boolean {
    if (this.count === 0) return true;
    if (this.spare === 0 || nowMs >= this.untilMs) return false;
    this.spare--;
    return true;
  }
}
