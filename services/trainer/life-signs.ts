import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Member, StepReport, WorkService } from "../../platform/work-service/work-service.js";

/**
 * Tells the coordinator every `limits.trainerHeartbeatMs`, and after steps more often, how far a trainer is, and learns from the answers whether its generation still stands.
 * While the coordinator is away nothing happens: trainers go on stepping.
 */
export class LifeSigns {
  private readonly over = new AbortController();
  private readonly left = new AbortController();
  private readonly member: Member;
  private readonly work: WorkService;
  private readonly clock: Clock;
  private readonly report: () => StepReport;
  private inFlight: Promise<void> | undefined;
  private lastMs = -Infinity;

  constructor(member: Member, work: WorkService, clock: Clock, report: () => StepReport) {
    this.member = member;
    this.work = work;
    this.clock = clock;
    this.report = report;
    void this.keepReporting();
  }

  /** Aborts, with GENERATION_STALE, once the generation has been replaced or is about to be. */
  get generationEnded(): AbortSignal {
    return this.left.signal;
  }

  /** Called after each step: says so if the last word is `limits.stepReportMs` old. */
  step(): void {
    if (this.clock.monotonic() - this.lastMs >= limits.stepReportMs) void this.tell();
  }

  /** One report now, after the one under way. */
  async tell(): Promise<void> {
    this.lastMs = this.clock.monotonic();
    await this.inFlight;
    if (this.over.signal.aborted) return;
    this.inFlight = this.send().finally(() => (this.inFlight = undefined));
    await this.inFlight;
  }

  close(): void {
    this.over.abort();
  }

  private async send(): Promise<void> {
    try {
      const stands = await this.work.reportStep(this.member, this.report());
      if (stands <= this.member.generation || this.over.signal.aborted) return;
      this.left.abort(
        new CodedError(
          "GENERATION_STALE",
          `generation ${String(this.member.generation)} of job ${this.member.jobId} ends; ${this.member.trainer} joins the next one`,
        ),
      );
    } catch (error) {
      if (!(error instanceof CodedError)) throw error; // what the coordinator cannot hear now it hears with the next report
    }
  }

  private async keepReporting(): Promise<void> {
    for (;;) {
      try {
        await this.clock.sleep(limits.trainerHeartbeatMs, this.over.signal);
      } catch {
        return;
      }
      if (this.inFlight === undefined) await this.tell();
    }
  }
}
