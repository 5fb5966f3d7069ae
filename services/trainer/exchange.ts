import { CodedError } from "../../domain/errors.js";
import type { Milestone } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { AllReduce, type Received } from "../../domain/training/exchange/all-reduce.js";
import { Gather, type GatherKey } from "../../domain/training/exchange/gather.js";
import { type Channel, encodeHello, exchangeSubject, type Outgoing, senderOf } from "../../domain/training/exchange/message.js";
import type { Range } from "../../domain/training/grains.js";
import type { SubTree, SubTreeSum } from "../../domain/training/tree.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { GradientBus, Subscription } from "../../platform/gradient-bus/gradient-bus.js";

export interface ExchangeDeps {
  readonly bus: GradientBus;
  readonly clock: Clock;
  readonly milestone: (milestone: Milestone) => void;
  /** A wait that is not over after this sends again what may have been lost; default limits.exchangeResendMs. */
  readonly resendMs?: number;
  /** A wait that is not over after this fails with the names of the missing; default limits.exchangeDeadlineMs. */
  readonly deadlineMs?: number;
}

/** One trainer's end of the bus in one generation. What is sent, awaited and added is decided in domain/training/exchange; here it is published, received and waited for. */
export class Exchange {
  private readonly bus: GradientBus;
  private readonly clock: Clock;
  private readonly milestone: (milestone: Milestone) => void;
  private readonly resendMs: number;
  private readonly deadlineMs: number;
  private readonly channel: Channel;
  private readonly trainers: readonly string[];
  private readonly allReduce: AllReduce;
  private readonly evaluation: Gather;
  private readonly subscriptions: readonly Subscription[];
  private readonly closed = new AbortController();
  private failure: Error | undefined;
  private wake: () => void = () => undefined;
  /** Whether the one alarm that wakes a wait is set. */
  private alarmed = false;
  /** What is waited for now. */
  private awaits: Awaited | undefined;

  constructor(
    { bus, clock, milestone, resendMs = limits.exchangeResendMs, deadlineMs = limits.exchangeDeadlineMs }: ExchangeDeps,
    channel: Channel,
    trainers: readonly string[],
    grains: number,
    length: number,
    firstStep: number,
  ) {
    this.bus = bus;
    this.clock = clock;
    this.milestone = milestone;
    this.resendMs = resendMs;
    this.deadlineMs = deadlineMs;
    this.channel = channel;
    this.trainers = trainers;
    this.allReduce = new AllReduce(channel, grains, length, firstStep);
    this.evaluation = new Gather(channel);
    const take = (payload: Uint8Array): void => this.take(payload);
    this.subscriptions = [channel.self, "all" as const].map((to) =>
      bus.subscribe(exchangeSubject(channel.job, channel.generation, to), take),
    );
    this.publish([encodeHello(channel)]);
  }

  get ownNodes(): readonly SubTree[] {
    return this.allReduce.ownNodes;
  }

  /** The sum over all grains of all trainers; valid until the next step's `reduce`. */
  async reduce(step: number, sums: readonly SubTreeSum[], weightsHash: string, signal: AbortSignal): Promise<Float32Array> {
    this.publish(this.allReduce.begin(step, sums, weightsHash));
    this.milestone("mid exchange");
    // Who owns no part hears of owners alone, who may wait for another: they come first to say for whom.
    const waitMs = this.deadlineMs + (this.allReduce.ownsPart ? 0 : this.resendMs);
    return this.awaited(this.allReduce, () => this.allReduce.silent(), `step ${String(step)}`, waitMs, signal);
  }

  /** Every trainer's range, put together. */
  async gather(
    key: GatherKey,
    ranges: readonly Range[],
    own: Float32Array,
    weightsHash: string,
    signal: AbortSignal,
  ): Promise<Float32Array> {
    this.publish(this.evaluation.begin(key, ranges, own, weightsHash));
    const missing = (): number[] => this.evaluation.missing();
    return this.awaited(this.evaluation, missing, `evaluation after step ${String(key.step)}`, this.deadlineMs, signal);
  }

  close(): void {
    this.closed.abort();
    for (const subscription of this.subscriptions) subscription.unsubscribe();
  }

  private take(payload: Uint8Array): void {
    try {
      const reduced = this.allReduce.receive(payload);
      const received: Received = reduced.reception === "misfit" ? this.evaluation.receive(payload) : reduced;
      this.publish(received.outgoing);
      if (received.reception === "hello") this.meet(senderOf(payload));
    } catch (error) {
      this.failure ??= error instanceof Error ? error : new Error(String(error));
    }
    if (this.failure !== undefined || this.awaits?.result !== undefined) this.wake();
  }

  /** Who has only begun to listen missed what was sent to it, which nobody kept: it gets that again now, not only when `resendMs` are over. */
  private meet(trainer: number): void {
    const missed = this.awaits?.resend().filter(({ to }) => to === trainer || to === "all") ?? [];
    this.publish(missed.map(({ payload }) => ({ to: trainer, payload })));
  }

  private publish(outgoing: readonly Outgoing[]): void {
    const { job, generation } = this.channel;
    for (const { to, payload } of outgoing) this.bus.publish(exchangeSubject(job, generation, to), payload);
  }

  private async awaited(of: Awaited, silent: () => number[], what: string, waitMs: number, signal: AbortSignal): Promise<Float32Array> {
    const wake = (): void => this.wake();
    signal.addEventListener("abort", wake);
    this.awaits = of;
    try {
      return await this.resultOf(of, silent, what, waitMs, signal);
    } finally {
      this.awaits = undefined;
      signal.removeEventListener("abort", wake);
    }
  }

  private async resultOf(of: Awaited, silent: () => number[], what: string, waitMs: number, signal: AbortSignal): Promise<Float32Array> {
    const deadlineMs = this.clock.monotonic() + waitMs;
    let resendMs = this.clock.monotonic() + this.resendMs;
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const { result } = of;
      if (result !== undefined) return result;
      signal.throwIfAborted();
      const nowMs = this.clock.monotonic();
      if (nowMs >= deadlineMs) {
        const missing = silent().map((rank) => this.trainers[rank] ?? String(rank));
        throw new CodedError(
          "EXCHANGE_INCOMPLETE",
          `${what}: nothing from ${missing.join(", ")} within ${String(waitMs / 1000)} s; a new generation is needed`,
          { missing },
        );
      }
      if (nowMs >= resendMs) {
        this.publish(of.resend());
        resendMs = nowMs + this.resendMs;
      }
      const woken = new Promise<void>((resolve) => (this.wake = resolve));
      this.setAlarm(Math.min(resendMs, deadlineMs) - nowMs);
      await woken;
    }
  }

  /** One alarm at a time: no wait is for longer than `resendMs`, so one that an earlier wait has set rings in time, and most waits set none. */
  private setAlarm(durationMs: number): void {
    if (this.alarmed) return;
    this.alarmed = true;
    const ring = (): void => {
      this.alarmed = false;
      this.wake();
    };
    this.clock.sleep(durationMs, this.closed.signal).then(ring, ring);
  }
}

/** What a trainer waits for: a step's sum or an evaluation's leaves. */
interface Awaited {
  readonly result: Float32Array | undefined;
  resend(): readonly Outgoing[];
}
