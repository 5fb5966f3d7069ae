import { editDistance } from "../edit-distance.js";
import { CodedError } from "../errors.js";

/** One thing that is wrong with a job spec. */
export interface Problem {
  /** The field, as in `training.optimizer.sgd.learningRate` or `head.layers[0].dense.units`; empty for the whole. */
  readonly path: string;
  /** What was expected and what was found, to be read after the path. */
  readonly message: string;
  /** Line in the job file, from 1. */
  readonly line?: number;
}

/** SPEC_INVALID with all problems, in the message and as `details.problems`. `subject` is what was checked: a file's name or "job". */
export function specInvalid(subject: string, problems: readonly Problem[]): CodedError {
  const lines = problems.map((problem) => {
    const where = problem.line === undefined ? "" : `line ${problem.line}: `;
    return `${where}${problem.path === "" ? "" : `${problem.path}: `}${problem.message}`;
  });
  const head = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return new CodedError("SPEC_INVALID", `${subject}: ${head}\n${lines.map((line) => `  ${line}`).join("\n")}`, { problems });
}

/** The candidate that `text` was probably meant to be, if one is near enough: the same letters in another case or style, or at most a third of them wrong. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
  const key = plainLetters(text);
  let best: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of candidates) {
    const other = plainLetters(candidate);
    const distance = editDistance(key, other);
    if (distance <= Math.max(1, Math.floor(Math.max(key.length, other.length) / 3)) && (best === undefined || distance < best.distance)) {
      best = { candidate, distance };
    }
  }
  return best?.candidate;
}

function plainLetters(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]/g, "");
}
