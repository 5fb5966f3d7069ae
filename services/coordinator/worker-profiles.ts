import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { JobProfiles } from "./plan-job.js";

type Role = keyof JobProfiles;

/** The numerics profiles of the workers that have come. A job is pinned to those of its first workers, so it cannot be planned before there is one of each role. */
export class WorkerProfiles {
  /** Workers of the pool, who are everybody's. */
  private readonly pool: WorkerProfiles | undefined;
  private readonly seen = new Map<string, NumericsProfile>();
  private readonly waiting = new Map<string, ((profile: NumericsProfile) => void)[]>();

  constructor(pool?: WorkerProfiles) {
    this.pool = pool;
  }

  /** The first worker of an engine stays. */
  add(role: Role, profile: NumericsProfile): void {
    const key = `${role} ${profile.engine}`;
    if (this.seen.has(key)) return;
    this.seen.set(key, profile);
    for (const resolve of this.waiting.get(key) ?? []) resolve(profile);
    this.waiting.delete(key);
  }

  has(role: Role, engine: string): boolean {
    return this.seen.has(`${role} ${engine}`) || (this.pool?.has(role, engine) ?? false);
  }

  /** Resolves once there is a worker of each role with its engine; rejects with the signal's reason. */
  async of(engines: Readonly<Record<Role, string>>, signal: AbortSignal): Promise<JobProfiles> {
    const extraction = await this.firstOfBoth("extraction", engines.extraction, signal);
    return { extraction, training: await this.firstOfBoth("training", engines.training, signal) };
  }

  private firstOfBoth(role: Role, engine: string, signal: AbortSignal): Promise<NumericsProfile> {
    const own = this.first(role, engine, signal);
    if (this.pool === undefined || this.seen.has(`${role} ${engine}`)) return own;
    return Promise.race([own, this.pool.first(role, engine, signal)]);
  }

  private first(role: Role, engine: string, signal: AbortSignal): Promise<NumericsProfile> {
    const key = `${role} ${engine}`;
    const seen = this.seen.get(key);
    if (seen !== undefined) return Promise.resolve(seen);
    return new Promise((resolve, reject) => {
      this.waiting.set(key, [...(this.waiting.get(key) ?? []), resolve]);
      const fail = (): void => reject(signal.reason as Error);
      if (signal.aborted) fail();
      else signal.addEventListener("abort", fail, { once: true });
    });
  }
}
