import { milestones, type Milestone } from "../../domain/job/records.js";
import type { RandomStream } from "../../domain/random.js";
import { goodLinks, type LinkConditions } from "./network.js";

/** What can happen to a cluster. */
export const faultKinds = [
  "kill an extractor",
  "kill a trainer",
  "kill all trainers",
  "stop a worker",
  "freeze a worker",
  "freeze a worker for long",
  "kill the coordinator",
  "replace the coordinator, which was paused",
  "part a worker from the coordinator",
  "part a worker from the store",
  "part a trainer from the bus",
  "part two trainers",
  "store down",
  "bus down",
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** Everything that a seed decides besides the single draws: a few kinds of faults at a time find more than all of them together. */
export interface Swarm {
  readonly recipe: number;
  readonly extractors: number;
  readonly trainers: number;
  /** With so many training begins. */
  readonly trainersLeast: number;
  /** Trainers of no particular job. */
  readonly isPool: boolean;
  /** How long one call of the engine takes. */
  readonly callMs: number;
  readonly links: LinkConditions;
  readonly kinds: readonly FaultKind[];
  /** Mean time between two faults. */
  readonly everyMs: number;
  /** Points of a job's life at which a process is killed or frozen, each once, at so many-th time that anyone comes there. */
  readonly ambushes: readonly { readonly milestone: Milestone; readonly after: number; readonly freezeMs: number | undefined }[];
  /** How long faults go on. */
  readonly safetyMs: number;
}

/** Milestones that a job passes many times. */
const frequent: ReadonlySet<Milestone> = new Set<Milestone>(["mid batch", "mid exchange", "between updates"]);

export function drawSwarm(random: RandomStream, recipes: number): Swarm {
  const oneOf = <T>(values: readonly T[]): T => values[random.below(values.length)]!;
  const some = <T>(values: readonly T[]): T[] => values.filter(() => random.below(3) === 0);
  const maybe = (share: number): number => (random.below(2) === 0 ? 0 : share * random.uniform());
  const trainers = oneOf([1, 2, 2, 3, 3, 4, 5]);
  return {
    recipe: random.below(recipes),
    extractors: 1 + random.below(3),
    trainers,
    trainersLeast: random.below(3) === 0 ? 1 + random.below(trainers) : trainers,
    isPool: random.below(3) === 0,
    callMs: oneOf([5, 20, 60, 200, 400]),
    links: {
      ...goodLinks,
      lost: maybe(0.05),
      repeated: maybe(0.1),
      slow: maybe(0.05),
      slowMsMax: oneOf([50, 500, 3_000]),
      broken: maybe(0.03),
      late: maybe(0.02),
      lateMsMax: oneOf([1_000, 30_000]),
      storeFailures: maybe(0.05),
      unreadable: maybe(0.02),
    },
    kinds: some(faultKinds),
    everyMs: oneOf([1_000, 4_000, 15_000]),
    ambushes: Array.from({ length: random.below(4) }, () => {
      const milestone = oneOf(milestones);
      return {
        milestone,
        after: random.below(frequent.has(milestone) ? 150 : 3),
        freezeMs: random.below(3) === 0 ? 1_000 + random.below(oneOf([10_000, 40_000, 90_000])) : undefined,
      };
    }),
    safetyMs: oneOf([20_000, 60_000, 180_000]),
  };
}
