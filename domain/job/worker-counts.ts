import type { Workers } from "./job.js";
import { isFinal, type Phase } from "./transitions.js";

/** How far a job is, as far as the number of its workers depends on it. */
export interface WorkerNeed {
  readonly phase: Phase;
  readonly suspended: boolean;
  /** Tasks without a commit; undefined before the listing is divided. */
  readonly openTasks: number | undefined;
  /** Trainers that the training asks for; undefined before it begins. */
  readonly wantedTrainers: number | undefined;
  readonly extractors: Workers;
  readonly trainers: Workers;
}

export interface WorkerCounts {
  readonly extractor: number;
  readonly trainer: number;
}

/**
 * How many workers a job shall have. Planning needs one of each role, to whose numerics profiles the job is pinned; then extractors as there are tasks left, and trainers as the training asks for: no pod holds
 * a GPU while it has nothing to do. A trainer stays where the extraction takes one round, since a pod takes longer to start.
 */
export function workerCounts({ phase, suspended, openTasks, wantedTrainers, extractors, trainers }: WorkerNeed): WorkerCounts {
  if (suspended || isFinal(phase)) return { extractor: 0, trainer: 0 };
  switch (phase) {
    case "Pending":
    case "Scanning":
      return { extractor: extractors.min, trainer: 0 };
    case "Planning":
      return { extractor: Math.max(1, extractors.min), trainer: 1 };
    case "Extracting": {
      if (openTasks === undefined) return { extractor: Math.max(1, extractors.min), trainer: 1 };
      const most = Math.max(1, extractors.max);
      return { extractor: Math.min(most, Math.max(openTasks, extractors.min)), trainer: openTasks <= most ? 1 : 0 };
    }
    default:
      return { extractor: 0, trainer: Math.min(Math.max(1, wantedTrainers ?? trainers.min), Math.max(1, trainers.max)) };
  }
}
