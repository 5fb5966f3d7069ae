import { CodedError } from "../../domain/errors.js";
import type { Milestone } from "../../domain/job/records.js";
import { learningRateAt } from "../../domain/training/schedule.js";
import type { HistoryPoint } from "../../domain/training/history.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import { decodeCheckpoint, encodeCheckpoint } from "../../formats/checkpoint/checkpoint.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import { diverged } from "./train-loop.js";
import type { TrainingState } from "./training-state.js";

/** Parameters and moving statistics of the best evaluation, kept beside the state's own where there is early stopping. */
const BEST_SLOT = "best";
/** The moving statistics of the state itself. */
const MOVING = "moving";
/** The last one may turn out to be damaged; then there is one before it. */
const KEPT = 2;
/** Between two looks for a checkpoint that is being written. */
const CHECKPOINT_POLL_MS = 200;

/** Durable states of one training. */
export class Checkpoints {
  private readonly job: JobObjects;
  private readonly plan: TrainingPlan;
  private readonly milestone: (milestone: Milestone) => void;

  constructor(job: JobObjects, plan: TrainingPlan, milestone: (milestone: Milestone) => void) {
    this.job = job;
    this.plan = plan;
    this.milestone = milestone;
  }

  /**
   * Writes the state after its step, once, and frees all but the last two.
   * @throws CodedError TRAINING_DIVERGED instead of keeping weights that are no numbers.
   */
  async save(state: TrainingState): Promise<void> {
    const bad = state.parameters.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      const { schedule, optimizer } = this.plan.recipe;
      throw diverged(
        state.step - 1,
        state.parameters[bad]!,
        learningRateAt(schedule, optimizer.learningRate, state.step - 1, this.plan.steps),
      );
    }
    const slots = new Map(state.optimizer.slots);
    const statistics = new Map([[MOVING, state.statistics]]);
    if (this.keepsBest) {
      const best = state.best ?? { parameters: new Float32Array(state.parameters.length), statistics: state.statistics };
      slots.set(BEST_SLOT, best.parameters);
      statistics.set(BEST_SLOT, best.statistics);
    }
    const { step, parameters, stopping, since, history } = state;
    this.milestone("before checkpoint");
    await this.job.createCheckpoint(
      step,
      encodeCheckpoint({ jobId: this.job.jobId, step, parameters, slots, statistics, stopping, since, history }, this.plan),
    );
    this.milestone("after checkpoint");
    for (const old of (await this.job.checkpointSteps()).filter((other) => other < step).slice(0, 1 - KEPT))
      await this.job.deleteCheckpoint(old);
  }

  /** Waits for the checkpoint that another trainer is writing. False where it has not come before the deadline. */
  async await(step: number, clock: Clock, deadlineMs: number, signal: AbortSignal): Promise<boolean> {
    const untilMs = clock.monotonic() + deadlineMs;
    while (!(await this.job.checkpointSteps()).includes(step)) {
      if (clock.monotonic() > untilMs) return false;
      await clock.sleep(CHECKPOINT_POLL_MS, signal);
    }
    return true;
  }

  /** Brings `state` to the checkpoint after `step`. False where it is gone or damaged; a damaged one is deleted, so that the next generation starts from the one before. */
  async restore(state: TrainingState, step: number): Promise<boolean> {
    try {
      const bytes = await this.job.readCheckpoint(step);
      if (bytes === undefined) return false;
      this.restoreFrom(bytes, state);
      return true;
    } catch (error) {
      if (!(error instanceof CodedError && error.code === "OBJECT_CORRUPT")) throw error;
      await this.job.deleteCheckpoint(step);
      return false;
    }
  }

  private restoreFrom(bytes: Uint8Array, state: TrainingState): void {
    const slots = [...state.optimizer.slots.keys(), ...(this.keepsBest ? [BEST_SLOT] : [])];
    const checkpoint = decodeCheckpoint(bytes, {
      jobId: this.job.jobId,
      layouts: this.plan,
      slots,
      statistics: [MOVING, ...(this.keepsBest ? [BEST_SLOT] : [])],
    });
    state.parameters.set(checkpoint.parameters);
    state.statistics.set(checkpoint.statistics.get(MOVING)!);
    for (const [name, values] of state.optimizer.slots) values.set(checkpoint.slots.get(name)!);
    state.step = checkpoint.step;
    state.stopping = checkpoint.stopping;
    state.since = checkpoint.since;
    state.history = checkpoint.history as HistoryPoint[];
    state.best =
      checkpoint.stopping.best === null
        ? undefined
        : { parameters: checkpoint.slots.get(BEST_SLOT)!, statistics: checkpoint.statistics.get(BEST_SLOT)! };
  }

  private get keepsBest(): boolean {
    return this.plan.recipe.earlyStopping !== undefined;
  }
}
