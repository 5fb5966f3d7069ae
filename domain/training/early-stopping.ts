import type { Recipe } from "../job/job.js";

export type StoppingRule = NonNullable<Recipe["earlyStopping"]>;

/** One evaluation on the validation set after `step` updates. */
export interface ValidationPoint {
  readonly step: number;
  readonly correct: number;
  readonly count: number;
}

/** What early stopping knows; part of a checkpoint. Pure JSON. */
export interface StoppingState {
  readonly evaluations: number;
  /** The best evaluation so far; of equal ones the earliest. Its weights are exported when a rule is given. */
  readonly best: { readonly step: number; readonly accuracy: number } | null;
  /** Accuracy that the next improvement must exceed by more than `minimumDelta`. */
  readonly reference: number | null;
  readonly evaluationsSinceImprovement: number;
}

export const stoppingStart: StoppingState = { evaluations: 0, best: null, reference: null, evaluationsSinceImprovement: 0 };

/** The state after one more evaluation. An improvement is an accuracy above the reference + minimumDelta (Keras, EarlyStopping with mode "max"). */
export function afterEvaluation(state: StoppingState, point: ValidationPoint, minimumDelta: number): StoppingState {
  const accuracy = point.correct / point.count;
  const improved = state.reference === null || accuracy - minimumDelta > state.reference;
  return {
    evaluations: state.evaluations + 1,
    best: state.best === null || accuracy > state.best.accuracy ? { step: point.step, accuracy } : state.best,
    reference: improved ? accuracy : state.reference,
    evaluationsSinceImprovement: improved ? 0 : state.evaluationsSinceImprovement + 1,
  };
}

export function shouldStop(state: StoppingState, rule: StoppingRule): boolean {
  return state.evaluationsSinceImprovement >= rule.patienceEvaluations;
}
