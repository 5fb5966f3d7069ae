import { CodedError, endsJob } from "../../domain/errors.js";
import { type JobEvent, renderEvent } from "../../domain/job/events.js";
import type { JobStatus } from "../../domain/job/status.js";
import { isFinal, nextState, type Move } from "../../domain/job/transitions.js";
import type { CoordinatorDeps } from "./coordinator-deps.js";
import type { StatusBoard } from "./status.js";

/** How one job gets on: its moves, events, warnings and failures, told to its status, its log and those who listen. */
export class JobProgress {
  readonly status: StatusBoard;
  private readonly jobId: string;
  private readonly deps: CoordinatorDeps;
  private readonly warned = new Set<string>();

  constructor(jobId: string, deps: CoordinatorDeps, status: StatusBoard) {
    this.jobId = jobId;
    this.deps = deps;
    this.status = status;
  }

  /** The next state of the table, with what else changes in the status. @throws CodedError JOB_TRANSITION_ILLEGAL */
  async move(move: Move, change: Partial<JobStatus> = {}): Promise<void> {
    const state = nextState(this.status.state, move);
    await this.status.update({ ...state, ...change });
    this.announce({ kind: "phase", phase: state.phase });
  }

  /** Tells those who listen; what watchers see of it goes into the status, what is rare into the log. */
  announce(event: JobEvent): void {
    this.status.note(noted(event));
    if (event.kind === "phase" || event.kind === "warning" || event.kind === "evaluation")
      this.deps.log?.append(event.kind, renderEvent(event));
    this.deps.announce(this.jobId, event);
  }

  /** Records a failure. One that can be mended leaves the job in its phase: run again, it goes on. An interruption is no failure. */
  async fail(error: unknown, hasGivenUp: boolean): Promise<void> {
    const { code, message } = error instanceof CodedError ? error : { code: undefined, message: String(error) };
    if (code === "INTERRUPTED") return;
    const state = hasGivenUp || (code !== undefined && endsJob(code)) ? nextState(this.status.state, "gaveUp") : this.status.state;
    this.deps.log?.append("failure", `${message} [${code ?? "INTERNAL"}]`);
    const ended = isFinal(state.phase) ? { endedMs: this.deps.clock.now() } : {};
    // The failure itself matters more than a status that could not be written, on a full disk for example.
    await this.status.update({ ...state, ...ended, failure: { code: code ?? "INTERNAL", message } }).catch(() => undefined);
  }

  /** Once a run, however often its phases are repeated. */
  warn(message: string): void {
    if (this.warned.has(message)) return;
    this.warned.add(message);
    this.announce({ kind: "warning", message });
  }
}

/** What an event changes in the status. */
function noted(event: JobEvent): Partial<JobStatus> {
  switch (event.kind) {
    case "scan":
      return { pictures: event.pictures };
    case "extraction":
      return { extracted: event.done, cached: event.cached, rejected: event.rejected, imagesPerSecond: event.imagesPerSecond };
    case "step":
      return {
        step: event.step,
        steps: event.steps,
        ...(event.millisecondsPerStep > 0 && { millisecondsPerStep: event.millisecondsPerStep }),
      };
    case "evaluation": {
      const { step, epoch, crossEntropy, trainAccuracy, validationLoss, validationAccuracy, validationCount } = event;
      return {
        evaluation: {
          step,
          epoch,
          validationCount,
          ...(crossEntropy !== null && { trainLoss: crossEntropy }),
          ...(trainAccuracy !== null && { trainAccuracy }),
          ...(validationLoss !== null && { validationLoss }),
          ...(validationAccuracy !== null && { validationAccuracy }),
        },
      };
    }
    default:
      return {};
  }
}
