import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { Generation } from "../../platform/work-service/work-service.js";

interface Waiting {
  readonly resolve: (answer: Generation | "closed") => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Who trains a job, from one extraction to the next. The first `wanted` trainers that ask are its members, others are not needed. A generation opens whenever all members wait for one; it is
 * written down before anyone learns of it. A member that waits again has left its generation (its checkpoint was damaged, or another member was not heard): the others follow.
 */
export class Membership {
  private readonly job: JobObjects;
  private readonly profile: NumericsProfile;
  private readonly wanted: number;
  private readonly newKey: () => Uint8Array;
  private readonly members = new Set<string>();
  private readonly waiting = new Map<string, Waiting>();
  private current: number | undefined;
  private closed = false;

  constructor(job: JobObjects, profile: NumericsProfile, wanted: number, newKey: () => Uint8Array) {
    this.job = job;
    this.profile = profile;
    this.wanted = wanted;
    this.newKey = newKey;
  }

  /** Number of the generation that opened last. */
  get generation(): number | undefined {
    return this.current;
  }

  /** Resolves with the generation that this trainer is a member of, "not needed" where there are enough, "closed" where no generation will open here. @throws CodedError NUMERICS_PROFILE_MISMATCH */
  async join(trainer: string, profile: NumericsProfile): Promise<Generation | "not needed" | "closed"> {
    if (canonicalJson(profile) !== canonicalJson(this.profile)) {
      throw new CodedError(
        "NUMERICS_PROFILE_MISMATCH",
        `trainer ${trainer}: its numerics profile is ${canonicalJson(profile)}, job ${this.job.jobId} is pinned to ${canonicalJson(this.profile)}; run it on the same engine, version and kind of machine`,
      );
    }
    if (this.closed) return "closed";
    if (!this.members.has(trainer) && this.members.size === this.wanted) return "not needed";
    this.members.add(trainer);
    const answer = new Promise<Generation | "closed">((resolve, reject) => this.waiting.set(trainer, { resolve, reject }));
    if (this.waiting.size === this.wanted) await this.open();
    return answer;
  }

  /** Tells everyone who waits, now or later, that no generation will open. */
  close(): void {
    this.closed = true;
    for (const { resolve } of this.waiting.values()) resolve("closed");
    this.waiting.clear();
  }

  private async open(): Promise<void> {
    const waiting = new Map([...this.waiting].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.waiting.clear();
    try {
      const generation = await this.record([...waiting.keys()]);
      this.current = generation.generation;
      for (const { resolve } of waiting.values()) resolve(this.closed ? "closed" : generation);
    } catch (error) {
      for (const { reject } of waiting.values()) reject(error);
    }
  }

  private async record(trainers: readonly string[]): Promise<Generation> {
    const startStep = (await this.job.checkpointSteps()).at(-1) ?? 0;
    for (let number = ((await this.job.numberedFacts("generations")).at(-1) ?? -1) + 1; ; number++) {
      const fact = { formatVersion: 1, generation: number, trainers, startStep };
      const { outcome } = await this.job.createJson(`generations/${String(number)}.json`, fact, (value) => value as typeof fact);
      if (outcome === "created")
        return { jobId: this.job.jobId, generation: number, trainers, startStep, stateWriter: undefined, key: this.newKey() };
    }
  }
}
