import type { EvaluationEvent, JobEvent } from "../domain/job/events.js";

/** A person reads so many lines of a training; all evaluations are in the report and with --json. */
export const EVALUATIONS_SHOWN_MAX = 40;

/**
 * Chooses the evaluations that are shown to people: all of them up to `EVALUATIONS_SHOWN_MAX`, of more than that as many, evenly spread over the training, and always the
 * last one.
 */
export class ShownEvaluations {
  #steps = 0;
  #slot = -1;
  #heldBack: EvaluationEvent | undefined;
  /** Evaluations that were passed over. */
  #hidden = 0;

  /** What is to be shown on this event: the event itself, nothing, or first the evaluation that turned out to be the last. */
  next(event: JobEvent): JobEvent[] {
    if (event.kind === "step") this.#steps = event.steps;
    if (event.kind === "step" || event.kind === "extraction" || event.kind === "scan") return [event];
    if (event.kind !== "evaluation") return [...this.#last(), event];
    const slot = this.#steps === 0 ? Infinity : Math.ceil((event.step * EVALUATIONS_SHOWN_MAX) / this.#steps);
    if (slot === this.#slot && slot !== Infinity) {
      if (this.#heldBack !== undefined) this.#hidden++;
      this.#heldBack = event;
      return [];
    }
    if (this.#heldBack !== undefined) this.#hidden++;
    this.#heldBack = undefined;
    this.#slot = slot;
    return [event];
  }

  #last(): JobEvent[] {
    const last = this.#heldBack === undefined ? [] : [this.#heldBack];
    this.#heldBack = undefined;
    return last;
  }

  get hidden(): number {
    return this.#hidden;
  }
}
