import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { GenerationRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { stepDeadlineMs } from "../../domain/training/step-deadline.js";
import { generationRecord } from "../../formats/job-records/job-records.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { Generation, Joined, Member } from "../../platform/work-service/work-service.js";

export interface MembershipDeps {
  readonly job: JobObjects;
  readonly profile: NumericsProfile;
  readonly clock: Clock;
  readonly newKey: () => Uint8Array;
  /** Least silence after which a trainer is given up. */
  readonly stepDeadlineMs?: number;
  /** A generation opened; `why` says what ended the one before. */
  readonly onGeneration?: (generation: GenerationRecord, why: string) => void;
  /** A trainer that was not needed may be now. */
  readonly onNeed?: () => void;
}

interface Waiting {
  /** Steps behind the state that the trainer holds. */
  readonly step: number | undefined;
  readonly answer: (joined: Joined) => void;
  readonly fail: (error: unknown) => void;
}

/** A trainer that evaluates and exports may be silent for so many step deadlines. */
const EXPORT_DEADLINES = 3;

interface Standing {
  readonly generation: number;
  readonly trainers: readonly string[];
  /** When each of them was heard last, and how long it may be silent. */
  readonly heard: Map<string, { readonly ms: number; readonly silenceMsMax: number }>;
}

/**
 * Who trains a job, from one extraction to the next, as a sequence of generations.
 *
 * forming:  trainers wait until there are `wanted` of them; then the first generation opens.
 * standing: its members train. Spare trainers wait.
 * ending:   a member came again, was reported missing or was silent for too long, or a trainer came that is wanted. All members learn by the answer to their next sign of life that they must
 *           join again; when those who still live have come, or after `limits.regroupMs`, the next generation opens with whoever is there.
 *
 * A generation is written down by create-if-absent before anyone learns of it, so two coordinators never give out one number twice. It starts from the latest state that is held by one of its members or stands as a checkpoint.
 */
export class Membership {
  private readonly deps: MembershipDeps;
  /** So many trainers are asked for; there may be fewer, and for a while more. */
  wanted: number;
  private readonly waiting = new Map<string, Waiting>();
  private standing: Standing | undefined;
  /** Why the standing generation ends, and since when. */
  private ending: { readonly why: string; readonly sinceMs: number } | undefined;
  private opening = false;
  private closed = false;

  constructor(deps: MembershipDeps, wanted: number) {
    this.deps = deps;
    this.wanted = wanted;
  }

  /** Takes up the generation that an earlier coordinator opened: its members train on. */
  static async open(deps: MembershipDeps, wanted: number): Promise<Membership> {
    const membership = new Membership(deps, wanted);
    const last = (await deps.job.numberedFacts("generations")).at(-1);
    const record = last === undefined ? undefined : await deps.job.readJson(`generations/${String(last)}.json`, generationRecord);
    if (record !== undefined) membership.stand(record, deps.stepDeadlineMs ?? limits.stepDeadlineMsMin);
    return membership;
  }

  /** Number of the generation that opened last. */
  get generation(): number | undefined {
    return this.standing?.generation;
  }

  get trainers(): readonly string[] {
    return this.standing?.trainers ?? [];
  }

  /** Whether this trainer would be taken in. */
  needs(trainer: string, profile: NumericsProfile): boolean {
    if (this.closed || canonicalJson(profile) !== canonicalJson(this.deps.profile)) return false;
    const others = new Set([...this.trainers, ...this.waiting.keys()].filter((other) => other !== trainer));
    return this.trainers.includes(trainer) || others.size < this.wanted || this.ending !== undefined;
  }

  /** Members that have missed signs of life. */
  get silent(): readonly { readonly trainer: string; readonly silentMs: number }[] {
    const now = this.deps.clock.monotonic();
    return [...(this.standing?.heard ?? [])]
      .map(([trainer, { ms }]) => ({ trainer, silentMs: now - ms }))
      .filter(({ silentMs }) => silentMs > limits.memberQuietMs);
  }

  /** What keeps the next generation from opening, for people; undefined while one stands. */
  get waitsFor(): string | undefined {
    if (this.standing !== undefined && this.ending === undefined) return undefined;
    const there =
      this.waiting.size === 0
        ? "none is there"
        : `${[...this.waiting.keys()].sort().join(", ")} ${this.waiting.size === 1 ? "is" : "are"} there`;
    if (this.ending !== undefined) return `the trainers regroup: ${this.ending.why}; ${there}`;
    return `${String(this.wanted)} ${this.wanted === 1 ? "trainer is" : "trainers are"} needed to begin, ${there}`;
  }

  /**
   * Resolves with the generation that this trainer is a member of, "done" where no generation will open here any more, or "ask again" after `limits.longPollMs`. Once `gone` aborts, nobody waits for the answer,
   * and no generation opens with this trainer.
   * @throws CodedError NUMERICS_PROFILE_MISMATCH
   */
  async join(trainer: string, profile: NumericsProfile, step: number | undefined, gone?: AbortSignal): Promise<Joined> {
    if (canonicalJson(profile) !== canonicalJson(this.deps.profile)) {
      throw new CodedError(
        "NUMERICS_PROFILE_MISMATCH",
        `trainer ${trainer}: its numerics profile is ${canonicalJson(profile)}, job ${this.deps.job.jobId} is pinned to ${canonicalJson(this.deps.profile)}; run it on the same engine, version and kind of machine`,
      );
    }
    if (this.closed) return { kind: "done" };
    if (this.trainers.includes(trainer)) this.end(`${trainer} joined again`);
    else if (this.standing !== undefined && this.trainers.length < this.wanted) this.end(`${trainer} joined`);
    const over = new AbortController();
    let leave = (): void => undefined;
    const joined = new Promise<Joined>((resolve, reject) => {
      const waiting = { step, answer: resolve, fail: reject };
      this.waiting.get(trainer)?.answer({ kind: "ask again" });
      this.waiting.set(trainer, waiting);
      leave = () => {
        // It may have come again meanwhile.
        if (this.waiting.get(trainer) === waiting) this.waiting.delete(trainer);
        resolve({ kind: "ask again" });
      };
    });
    gone?.addEventListener("abort", leave, { once: true, signal: over.signal });
    if (gone?.aborted === true) leave();
    void this.tryOpen();
    void this.deps.clock.sleep(limits.longPollMs, over.signal).then(leave, () => undefined);
    try {
      return await joined;
    } finally {
      over.abort();
    }
  }

  /** A sign of life. Returns the generation that its sender should be in: a newer one than its own means that it must join again. */
  heard({ trainer, generation }: Member, millisecondsPerStep: number | null, finished: boolean): number {
    const { standing } = this;
    if (this.closed || standing === undefined || generation < standing.generation) return generation + 1;
    const least = this.deps.stepDeadlineMs ?? limits.stepDeadlineMsMin;
    // Writing a large model blocks its thread for a while.
    const silenceMsMax = finished ? EXPORT_DEADLINES * least : stepDeadlineMs(millisecondsPerStep, least);
    if (standing.heard.has(trainer)) standing.heard.set(trainer, { ms: this.deps.clock.monotonic(), silenceMsMax });
    return this.ending === undefined ? generation : generation + 1;
  }

  /** A member waited in vain for others. */
  stalled({ trainer, generation }: Member, step: number, missing: readonly string[]): number {
    if (generation === this.generation)
      this.end(
        missing.includes(trainer)
          ? `${trainer} leaves after step ${String(step)}`
          : `${trainer} waited in vain for ${missing.join(", ")} in step ${String(step)}`,
      );
    return generation + 1;
  }

  /** @throws CodedError GENERATION_STALE where the member's generation has been replaced */
  assertCurrent({ trainer, generation }: Member): void {
    if (generation === this.generation && this.trainers.includes(trainer)) return;
    throw new CodedError(
      "GENERATION_STALE",
      `trainer ${trainer} speaks for generation ${String(generation)} of job ${this.deps.job.jobId}, which is at generation ${String(this.generation ?? "none")}; it has to join again`,
    );
  }

  /** More trainers are worth it: spare ones are taken in. */
  setWanted(wanted: number): void {
    this.wanted = wanted;
    const spare = [...this.waiting.keys()].find((trainer) => !this.trainers.includes(trainer));
    if (this.standing !== undefined && this.trainers.length < wanted && spare !== undefined) this.end(`${spare} is taken in`);
    this.deps.onNeed?.();
    void this.tryOpen();
  }

  /** Until a member that is not heard meanwhile has been silent for too long; undefined while no generation stands. */
  nextSilenceMs(): number | undefined {
    const { standing } = this;
    if (standing === undefined || this.ending !== undefined) return undefined;
    const now = this.deps.clock.monotonic();
    return Math.min(...[...standing.heard.values()].map(({ ms, silenceMsMax }) => Math.max(0, ms + silenceMsMax - now) + 1));
  }

  /** Notices silence and lets a generation open when its time has come; call it every `limits.trainerHeartbeatMs`, and after `nextSilenceMs`. */
  async tick(): Promise<void> {
    const { standing } = this;
    if (standing !== undefined && this.ending === undefined) {
      const now = this.deps.clock.monotonic();
      for (const [trainer, { ms, silenceMsMax }] of standing.heard)
        if (now - ms > silenceMsMax) return this.end(`nothing was heard from ${trainer} for ${String(Math.round((now - ms) / 1000))} s`);
    }
    await this.tryOpen();
  }

  /** Tells everyone who waits, now or later, that no generation will open. */
  close(): void {
    this.closed = true;
    for (const { answer } of this.waiting.values()) answer({ kind: "done" });
    this.waiting.clear();
  }

  private end(why: string): void {
    if (this.ending !== undefined) return;
    this.ending = { why, sinceMs: this.deps.clock.monotonic() };
    this.deps.onNeed?.();
  }

  private async tryOpen(): Promise<void> {
    if (this.opening || this.closed || !this.isTime()) return;
    this.opening = true;
    // Those who hold the state first, then in the order of their arrival.
    const members = [...this.waiting.keys()]
      .sort((a, b) => Number(this.trainers.includes(b)) - Number(this.trainers.includes(a)))
      .slice(0, this.wanted);
    const waiting = members.map((trainer) => [trainer, this.waiting.get(trainer)!] as const);
    for (const trainer of members) this.waiting.delete(trainer);
    try {
      const record = await this.record(new Map(waiting.map(([trainer, { step }]) => [trainer, step])));
      const { trainers, generation, startStep, stateWriter } = record;
      const opened: Generation = {
        jobId: this.deps.job.jobId,
        generation,
        trainers,
        startStep,
        stateWriter: stateWriter ?? undefined,
        key: this.deps.newKey(),
      };
      const why = this.ending?.why ?? "the first";
      this.stand(record);
      this.deps.onGeneration?.(record, why);
      for (const [, { answer }] of waiting) answer(this.closed ? { kind: "done" } : { kind: "generation", ...opened });
    } catch (error) {
      for (const [, { fail }] of waiting) fail(error);
    } finally {
      this.opening = false;
    }
    // Who came while it was written down is wanted too.
    const [late] = this.waiting.keys();
    if (late !== undefined && this.trainers.length < this.wanted) this.end(`${late} joined`);
  }

  /** Whether the next generation can open with those who wait. */
  private isTime(): boolean {
    if (this.waiting.size === 0) return false;
    const { standing, ending } = this;
    if (standing === undefined) return this.waiting.size >= this.wanted;
    if (ending === undefined) return false;
    const now = this.deps.clock.monotonic();
    if (now - ending.sinceMs >= limits.regroupMs) return true;
    return standing.trainers.every(
      (trainer) => this.waiting.has(trainer) || now - (standing.heard.get(trainer)?.ms ?? 0) > limits.memberQuietMs,
    );
  }

  /** Writes the next generation down. */
  private async record(steps: ReadonlyMap<string, number | undefined>): Promise<GenerationRecord> {
    const { job } = this.deps;
    const checkpoint = (await job.checkpointSteps()).at(-1) ?? 0;
    const startStep = Math.max(checkpoint, ...[...steps.values()].map((step) => step ?? 0));
    const trainers = [...steps.keys()].sort();
    const isLacking = startStep !== checkpoint && trainers.some((trainer) => steps.get(trainer) !== startStep);
    const stateWriter = isLacking ? trainers.find((trainer) => steps.get(trainer) === startStep)! : null;
    for (let generation = ((await job.numberedFacts("generations")).at(-1) ?? -1) + 1; ; generation++) {
      const fact: GenerationRecord = { formatVersion: 1, generation, trainers, startStep, stateWriter };
      const { outcome } = await job.createJson(`generations/${String(generation)}.json`, fact, generationRecord);
      if (outcome === "created") return fact;
    }
  }

  private stand({ generation, trainers }: GenerationRecord, silenceMsMax: number = limits.exchangeDeadlineMs): void {
    const heard = { ms: this.deps.clock.monotonic(), silenceMsMax };
    this.standing = { generation, trainers, heard: new Map(trainers.map((trainer) => [trainer, heard])) };
    this.ending = undefined;
  }
}
