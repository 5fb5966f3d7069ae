import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { Generation } from "../../platform/work-service/work-service.js";

/** Who trains a job. A generation opens when as many trainers as wanted have joined; it is written down before anyone learns of it. */
export class Membership {
  private readonly job: JobObjects;
  private readonly profile: NumericsProfile;
  private readonly wanted: number;
  private readonly newKey: () => Uint8Array;
  private readonly waiting = new Map<string, (answer: Generation | "done") => void>();
  private closed = false;

  constructor(job: JobObjects, profile: NumericsProfile, wanted: number, newKey: () => Uint8Array) {
    this.job = job;
    this.profile = profile;
    this.wanted = wanted;
    this.newKey = newKey;
  }

  /** Resolves with the generation that this trainer is a member of. @throws CodedError NUMERICS_PROFILE_MISMATCH */
  async join(trainer: string, profile: NumericsProfile): Promise<Generation | "done"> {
    if (canonicalJson(profile) !== canonicalJson(this.profile)) {
      throw new CodedError(
        "NUMERICS_PROFILE_MISMATCH",
        `trainer ${trainer}: its numerics profile is ${canonicalJson(profile)}, job ${this.job.jobId} is pinned to ${canonicalJson(this.profile)}; run it on the same engine, version and kind of machine`,
      );
    }
    if (this.closed) return "done";
    const answer = new Promise<Generation | "done">((resolve) => this.waiting.set(trainer, resolve));
    if (this.waiting.size === this.wanted) await this.open();
    return answer;
  }

  /** Tells everyone who waits that no trainer is needed any more. */
  close(): void {
    this.closed = true;
    for (const resolve of this.waiting.values()) resolve("done");
    this.waiting.clear();
  }

  private async open(): Promise<void> {
    const members = new Map([...this.waiting].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.waiting.clear();
    const startStep = (await this.job.checkpointSteps()).at(-1) ?? 0;
    const key = this.newKey();
    const trainers = [...members.keys()];
    for (let number = ((await this.job.numberedFacts("generations")).at(-1) ?? -1) + 1; ; number++) {
      const record = { formatVersion: 1, generation: number, trainers, startStep };
      const { outcome } = await this.job.createJson(`generations/${String(number)}.json`, record, (value) => value as typeof record);
      if (outcome === "exists") continue;
      for (const resolve of members.values()) resolve({ jobId: this.job.jobId, generation: number, trainers, startStep, key });
      return;
    }
  }
}
