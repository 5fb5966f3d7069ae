import type { ErrorCode } from "../errors.js";
import { limits } from "../limits.js";
import { lossProblem } from "../training/loss.js";
import { streamingProblem, type TrainingShape } from "../training/training-plan.js";
import { byteSize, count, decimals, printable } from "./figures.js";
import type { ResolvedJob } from "./job.js";
import type { Plan } from "./plan.js";
import { type MemoryQuestion, type TrainerMemory } from "./plan-memory.js";
import { proposalsText, trainerProposals } from "./plan-proposals.js";

/** Why a job cannot run. */
export interface Obstacle {
  readonly code: ErrorCode;
  readonly message: string;
}

type PlanFigures = Omit<Plan, "obstacles" | "notes">;

/** What of the job itself and of memory keeps it from running. Without `memoryBytes` memory is not checked. */
export function obstaclesOf(plan: PlanFigures, training: TrainingShape, question: MemoryQuestion, memoryBytes = Infinity): Obstacle[] {
  const obstacles: Obstacle[] = [];
  const add = (code: ErrorCode, message: string): void => void obstacles.push({ code, message });
  const { classes, counts } = plan;
  if (classes.length < 2) {
    add("DATASET_INVALID", `dataset ${printable(plan.source)}: a classifier needs two classes, found only ${name(classes[0])}`);
  }
  const untrained = classes.filter((_, index) => counts.train[index] === 0);
  if (plan.countsExact && untrained.length > 0) {
    add("DATASET_INVALID", `no training pictures in ${list(untrained)}; add some, remove the class or change dataset.split`);
  }
  const lossAgainst = lossProblem(question.job.training.loss, classes.length);
  if (lossAgainst !== undefined) add("SPEC_INVALID", lossAgainst);
  const unstreamable = streamingProblem(training);
  if (unstreamable !== undefined) add(unstreamable.code, unstreamable.message);
  for (const message of tooLarge(plan, question, memoryBytes)) add("JOB_TOO_LARGE", message);
  return obstacles;
}

function tooLarge({ training, extraction }: PlanFigures, question: MemoryQuestion, memoryBytes: number): string[] {
  const { memory } = training;
  if (memory.total <= memoryBytes) return extraction.memoryBytes <= memoryBytes ? [] : [extractorTooLarge()];
  const problem = `a trainer needs about ${byteSize(memory.total)} of memory (${memoryText(memory)}), there are ${byteSize(memoryBytes)}`;
  const proposals = trainerProposals(question, memoryBytes);
  const what = proposals.length === 0 ? "no single change is enough: change several fields" : `it fits with ${proposalsText(proposals)}`;
  return [`${problem}; ${what}, or use a machine with more memory`];

  function extractorTooLarge(): string {
    return `an extractor needs about ${byteSize(extraction.memoryBytes)} of memory, there are ${byteSize(memoryBytes)}; choose a smaller backbone or preprocessing.size, or use a machine with more memory`;
  }
}

/** What takes memory, the largest first; what takes less than a hundredth is left out. */
export function memoryText({ total, ...parts }: TrainerMemory): string {
  return Object.entries(parts)
    .filter(([, bytes]) => bytes >= total / 100)
    .sort(([, a], [, b]) => b - a)
    .map(([part, bytes]) => `${part} ${byteSize(bytes)}`)
    .join(", ");
}

/** What a user should know. */
export function notesOf(plan: PlanFigures, job: ResolvedJob): string[] {
  const { classes, counts, training } = plan;
  const notes: string[] = [];
  for (const split of ["validation", "test"] as const) {
    const empty = classes.filter((_, index) => counts[split][index] === 0);
    if (total(counts[split]) === 0)
      notes.push(
        `no ${split} pictures: ${split === "test" ? "the result has no test accuracy" : "nothing to compare with during training"}`,
      );
    else if (empty.length > 0) notes.push(`${plan.countsExact ? "no" : "probably no"} ${split} pictures in ${list(empty)}`);
  }
  if (training.grains < job.training.grains) {
    const why =
      training.parameters > limits.parametersForGrains
        ? `more than ${count(limits.parametersForGrains)} parameters are trained`
        : `a batch of ${training.batchSize} has no two rows for each of ${job.training.grains}`;
    notes.push(`${count(training.grains, "grain")} instead of ${job.training.grains}: ${why}`);
  }
  const epochs = total(counts.train) === 0 ? 0 : (training.steps.value * training.batchSize) / total(counts.train);
  if ("steps" in job.training.length && epochs > 0)
    notes.push(`${count(training.steps.value)} steps are ${plan.countsExact ? "" : "≈ "}${decimals(epochs, 1)} epochs`);
  return notes;
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 5).map(name).join(", ");
  return `${names.length === 1 ? "class" : "classes"} ${shown}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`;
}

function name(className: string | undefined): string {
  return `"${printable(className ?? "")}"`;
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
