import { CodedError } from "../errors.js";

/** Every legal move of a job; a pair that is absent is illegal. docs/protocols/job-states.md is printed from this table. */
export const transitions = {
  Pending: { started: "Scanning", gaveUp: "Failed", cancelled: "Cancelled" },
  Scanning: { listed: "Planning", gaveUp: "Failed", cancelled: "Cancelled" },
  Planning: { planned: "Extracting", gaveUp: "Failed", cancelled: "Cancelled" },
  Extracting: { extracted: "Training", gaveUp: "Failed", cancelled: "Cancelled" },
  Training: { trained: "Evaluating", featuresMissing: "Extracting", gaveUp: "Failed", cancelled: "Cancelled" },
  Evaluating: { evaluated: "Exporting", featuresMissing: "Extracting", gaveUp: "Failed", cancelled: "Cancelled" },
  Exporting: { exported: "Complete", featuresMissing: "Extracting", gaveUp: "Failed", cancelled: "Cancelled" },
  Complete: {},
  Failed: {},
  Cancelled: {},
} as const satisfies Record<string, Partial<Record<Move, string>>>;

/** What moves a job on. */
export const moves = {
  started: "the coordinator takes up the job",
  listed: "every picture is in the listing",
  planned: "tasks and everything that shapes the result are written down",
  extracted: "every task has a commit and the sample table is written",
  trained: "the last step is done, or early stopping ended training",
  evaluated: "the test pictures are evaluated and `minimumAccuracy` is reached",
  exported: "the result is whole",
  featuresMissing: "features that were kept are missing or corrupt; they are extracted again and training goes on from its last checkpoint",
  gaveUp: "a failure that no repetition cures, or too many of the others",
  cancelled: "by request",
  suspended: "`suspend: true`; workers stop, everything done is kept",
  resumed: "`suspend: false`",
} as const;

export type Phase = keyof typeof transitions;
export type Move = keyof typeof moves;

/** In the order of a job's life. */
export const phases = Object.keys(transitions) as readonly Phase[];

/** Suspended stands beside the phase that it interrupts, so that the job goes on where it was. */
export interface JobState {
  readonly phase: Phase;
  readonly suspended: boolean;
}

/** Complete, Failed and Cancelled are for ever. */
export function isFinal(phase: Phase): boolean {
  return Object.keys(transitions[phase]).length === 0;
}

/** The phase as people see it: "Suspended" hides the phase that it interrupts. */
export function displayedPhase(state: JobState): Phase | "Suspended" {
  return state.suspended ? "Suspended" : state.phase;
}

/** The state after `move`. A suspended job only fails, is cancelled or resumed. @throws CodedError JOB_TRANSITION_ILLEGAL. */
export function nextState(state: JobState, move: Move): JobState {
  const illegal = (why: string): CodedError =>
    new CodedError(
      "JOB_TRANSITION_ILLEGAL",
      `a job that is ${state.phase}${state.suspended ? " (Suspended)" : ""} cannot take "${move}": ${why}`,
      { ...state, move },
    );
  if (move === "suspended" || move === "resumed") {
    if (isFinal(state.phase)) throw illegal("it has ended");
    return { phase: state.phase, suspended: move === "suspended" };
  }
  const legal: Partial<Record<Move, Phase>> = transitions[state.phase];
  const phase = legal[move];
  if (phase === undefined) throw illegal(`legal there: ${Object.keys(legal).join(", ") || "nothing, it has ended"}`);
  if (state.suspended && !isFinal(phase)) throw illegal("its workers are stopped; resume it first");
  return { phase, suspended: false };
}

/** docs/protocols/job-states.md. */
export function renderJobStates(): string {
  const rows = phases.flatMap((phase) => Object.entries(transitions[phase]).map(([move, next]) => `| ${phase} | ${move} | ${next} |`));
  const arrows = phases.flatMap((phase) => Object.entries(transitions[phase]).map(([move, next]) => `    ${phase} --> ${next}: ${move}`));
  return [
    "# States of a job",
    "",
    "Printed from `domain/job/transitions.ts` by `GRAFT_WRITE_DOCS=1 npx vitest run domain/job/transitions`; without the variable that test keeps the two equal. A move that is not listed is refused with JOB_TRANSITION_ILLEGAL.",
    "",
    "```mermaid",
    "stateDiagram-v2",
    "    [*] --> Pending",
    ...arrows,
    ...phases.filter(isFinal).map((phase) => `    ${phase} --> [*]`),
    "```",
    "",
    "| state | move | next state |",
    "| --- | --- | --- |",
    ...rows,
    "",
    `\`suspended\` and \`resumed\` are legal in every state but ${phases.filter(isFinal).join(", ")}. Suspended stands beside the state that it interrupts: the job goes on from there.`,
    "While it is suspended, only `resumed`, `gaveUp` and `cancelled` move a job.",
    "",
    "| move | when |",
    "| --- | --- |",
    ...Object.entries(moves).map(([move, meaning]) => `| ${move} | ${meaning} |`),
    "",
  ].join("\n");
}
