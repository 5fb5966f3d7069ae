import type { HistoryPoint } from "../../domain/training/history.js";
import { afterEvaluation, shouldStop, stoppingStart, type StoppingState } from "../../domain/training/early-stopping.js";
import { OptimizerState } from "../../domain/training/optimizer.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import { counters } from "./own-grains.js";

/** Sums over the training rows since the last evaluation. */
export interface RunningSums {
  readonly loss: number;
  readonly correct: number;
  readonly rows: number;
}

/** What a network computes with: trained vector and moving statistics. */
export interface Weights {
  /** `[layout.length]` */
  readonly parameters: Float32Array;
  /** `[statisticsLayout.length]` */
  readonly statistics: Float32Array;
}

export const noSums: RunningSums = { loss: 0, correct: 0, rows: 0 };

/** Everything that changes from step to step, the same in every trainer; a checkpoint holds all of it. */
export class TrainingState {
  readonly optimizer: OptimizerState;
  /** Moving statistics of batch norm, `[statisticsLayout.length]`. */
  readonly statistics: Float32Array;
  /** Updates done. */
  step = 0;
  since: RunningSums = noSums;
  stopping: StoppingState = stoppingStart;
  /** Parameters and moving statistics of the best evaluation; kept with early stopping only. */
  best: Weights | undefined;
  /** Every evaluation so far, for curves and event files. */
  history: HistoryPoint[] = [];
  private readonly plan: TrainingPlan;

  constructor(plan: TrainingPlan) {
    this.plan = plan;
    this.optimizer = new OptimizerState(plan.recipe, plan.layout, counters(plan));
    this.statistics = new Float32Array(plan.statisticsLayout.length);
  }

  get parameters(): Float32Array {
    return this.optimizer.parameters;
  }

  /** Where the sums of a step have the batch statistics: behind the gradient. */
  get batchStatistics(): Float32Array {
    const { length } = this.plan.layout;
    return this.optimizer.sums.subarray(length, length + this.statistics.length);
  }

  get finished(): boolean {
    const { earlyStopping } = this.plan.recipe;
    return this.step >= this.plan.steps || (earlyStopping !== undefined && shouldStop(this.stopping, earlyStopping));
  }

  /** Whether the updates so far end with an evaluation. */
  get isEvaluationPoint(): boolean {
    const isPoint = this.step % this.plan.evaluateEverySteps === 0 || this.step === this.plan.steps;
    return (this.step > 0 || this.plan.evaluatesStart) && isPoint;
  }

  /** Whether that evaluation has been made: an interruption can come before it. */
  get isEvaluated(): boolean {
    return this.history.at(-1)?.step === this.step;
  }

  get checkpointIsDue(): boolean {
    return this.step > 0 && (this.step % this.plan.checkpointEverySteps === 0 || this.finished);
  }

  /** Passes over the training rows so far. */
  get epoch(): number {
    return (this.step * this.plan.batchSize) / this.plan.trainRows;
  }

  /** What is exported: the last weights, with early stopping the best. */
  get exported(): Weights & { readonly step: number } {
    if (this.best === undefined || this.stopping.best === null)
      return { step: this.step, parameters: this.parameters, statistics: this.statistics };
    return { step: this.stopping.best.step, ...this.best };
  }

  /** Takes in an evaluation; every trainer does so with the same sums, so all stop at the same step. */
  evaluated(point: HistoryPoint, validation: { readonly correct: number; readonly count: number } | undefined): void {
    this.since = noSums;
    this.history.push(point);
    const { earlyStopping } = this.plan.recipe;
    if (validation === undefined || validation.count === 0 || earlyStopping === undefined) return;
    this.stopping = afterEvaluation(this.stopping, { step: this.step, ...validation }, earlyStopping.minimumDelta);
    if (this.stopping.best?.step === this.step) this.best = { parameters: this.parameters.slice(), statistics: this.statistics.slice() };
  }
}
