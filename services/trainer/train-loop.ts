import { CodedError } from "../../domain/errors.js";
import type { Milestone } from "../../domain/job/records.js";
import { hashOfWeights } from "../../domain/training/exchange/message.js";
import { moveStatistics } from "../../domain/training/moving-statistics.js";
import { learningRateAt } from "../../domain/training/schedule.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { Evaluator } from "./evaluator.js";
import type { Exchange } from "./exchange.js";
import type { OwnGrains } from "./own-grains.js";
import type { TrainingState } from "./training-state.js";

/** What one trainer trains with in one generation. */
export interface TrainingRun {
  readonly plan: TrainingPlan;
  readonly state: TrainingState;
  readonly grains: OwnGrains;
  readonly evaluator: Evaluator;
  /** Undefined for a single trainer, who uses no bus at all. */
  readonly exchange: Exchange | undefined;
}

export interface TrainingHooks {
  readonly onStep: () => void;
  readonly onEvaluation: () => Promise<void>;
  /** Makes the state durable; one trainer does it for all. */
  readonly saveCheckpoint: () => Promise<void>;
  readonly milestone: (milestone: Milestone) => void;
}

/**
 * Steps until the recipe or early stopping ends the training, or the signal aborts: then the state is saved and "interrupted" is returned. So it is where the generation ends, which is thrown: a job that is suspended goes on from there. What else is thrown leaves the state as it was after a whole number of updates.
 * @throws CodedError TRAINING_DIVERGED at the step whose loss is no number.
 */
export async function train(run: TrainingRun, hooks: TrainingHooks, signal: AbortSignal): Promise<"finished" | "interrupted"> {
  try {
    await stepToTheEnd(run, hooks, signal);
    return "finished";
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    // Wherever the signal came, the state is that after a whole number of updates.
    if (run.state.step > 0) await hooks.saveCheckpoint();
    if (error instanceof CodedError && error.code === "GENERATION_STALE") throw error;
    return "interrupted";
  }
}

async function stepToTheEnd(
  { plan, state, grains, evaluator, exchange }: TrainingRun,
  hooks: TrainingHooks,
  signal: AbortSignal,
): Promise<void> {
  const { recipe, batchSize } = plan;
  for (let isFirst = exchange !== undefined; ; isFirst = false) {
    // 1. Evaluate where it is time, and decide whether to stop, on the same sums in every trainer. The generation before may have ended in the middle of this: some of its members have the outcome, others
    //    do not. So a generation that starts here does it in all of its members.
    if (state.isEvaluationPoint && (isFirst || !state.isEvaluated)) {
      const isNew = !state.isEvaluated;
      await evaluator.evaluate(state, exchange, signal);
      if (isNew) await hooks.onEvaluation();
    }
    if (state.checkpointIsDue) await hooks.saveCheckpoint();
    if (state.finished) return;
    signal.throwIfAborted();

    // 2. The own grains of this step's batch, then the sum over all trainers along the fixed tree.
    const sums = await grains.sums(state.step, state.parameters, state.statistics);
    const total =
      exchange === undefined ? sums[0]!.values : await exchange.reduce(state.step, sums, hashOfWeights(state.parameters), signal);
    const loss = total[total.length - 2]!;
    const correct = total[total.length - 1]!;
    const learningRate = learningRateAt(recipe.schedule, recipe.optimizer.learningRate, state.step, plan.steps);
    if (!Number.isFinite(loss)) throw diverged(state.step, loss, learningRate);

    // 3. The same update in every trainer.
    if (total !== state.optimizer.sums) state.optimizer.sums.set(total);
    await grains.update(state.optimizer, state.step, learningRate, 1 / batchSize);
    if (recipe.batchNorm === "BATCH") moveStatistics(state.statistics, state.batchStatistics, batchSize, recipe.batchNormMomentum);
    state.step++;
    const { since } = state;
    state.since = { loss: since.loss + loss, correct: since.correct + correct, rows: since.rows + batchSize };
    hooks.milestone("between updates");
    hooks.onStep();
  }
}

export function diverged(step: number, value: number, learningRate: number): CodedError {
  return new CodedError(
    "TRAINING_DIVERGED",
    `training diverged at step ${String(step)}: the loss is ${String(value)}, a number was expected; the learning rate was ${learningRate.toPrecision(3)}: use a smaller one, such as ${(learningRate / 10).toPrecision(3)}. The last good checkpoint, if there was one, is kept`,
    { step, learningRate },
  );
}
