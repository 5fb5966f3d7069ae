import { limits } from "../limits.js";
import { byteSize, count, decimals } from "./figures.js";
import type { Workers } from "./job.js";

export interface TrainerChoice {
  readonly trainers: number;
  /** Of a step with that many. */
  readonly millisecondsPerStep: number;
  /** 2P(N-1): what the broker carries in a step. */
  readonly exchangeBytesPerStep: number;
  readonly reason: string;
}

export interface TrainerQuestion {
  readonly wanted: Workers;
  readonly grains: number;
  readonly parameters: number;
  /** Of a step of one trainer. */
  readonly millisecondsPerStep: number;
  readonly exchangeBytesPerSecond: number;
  /** All trainers share one machine. */
  readonly local: boolean;
}

interface Candidate {
  readonly trainers: number;
  readonly exchangeBytesPerStep: number;
  readonly computing: number;
  readonly exchanging: number;
}

/** Rounds of the exchange, each at least this long. */
const EXCHANGE_LATENCY_MS = 2;

/** How many trainers, and why: the fewest of those that finish a step soonest. A trainer works on whole grains, so never more than grains. */
export function chooseTrainers(question: TrainerQuestion): TrainerChoice {
  const { wanted, grains } = question;
  const most = Math.min(wanted.max, grains);
  const least = Math.min(wanted.min, most);
  const candidates = Array.from({ length: most - least + 1 }, (_, index) => candidateOf(least + index, question));
  const best = candidates.reduce((a, b) => (stepOf(b) < stepOf(a) ? b : a));
  return {
    trainers: best.trainers,
    millisecondsPerStep: stepOf(best),
    exchangeBytesPerStep: best.exchangeBytesPerStep,
    reason: reasonOf(best, question, { least, most }),
  };
}

/** 2P(N-1) bytes of float32 go through the broker; on one machine through memory, while all compute on the same cores. */
function candidateOf(
  trainers: number,
  { grains, parameters, millisecondsPerStep, exchangeBytesPerSecond, local }: TrainerQuestion,
): Candidate {
  const exchangeBytesPerStep = 2 * 4 * parameters * (trainers - 1);
  const computing = local ? millisecondsPerStep : (millisecondsPerStep * Math.ceil(grains / trainers)) / grains;
  const exchanging = trainers === 1 ? 0 : (local ? 0 : EXCHANGE_LATENCY_MS) + (1000 * exchangeBytesPerStep) / exchangeBytesPerSecond;
  return { trainers, exchangeBytesPerStep, computing, exchanging };
}

function stepOf({ computing, exchanging }: Candidate): number {
  return computing + exchanging;
}

function reasonOf(best: Candidate, question: TrainerQuestion, { least, most }: { readonly least: number; readonly most: number }): string {
  const { wanted, grains, parameters, local } = question;
  if (grains === 1) {
    const why =
      parameters > limits.parametersForGrains
        ? `more than ${count(limits.parametersForGrains)} parameters are trained in one grain`
        : "a batch is one grain";
    return `${why}, so one trainer does all of it`;
  }
  const alone = `a step takes ${times(best)}`;
  const next = best.trainers < grains ? candidateOf(best.trainers + 1, question) : undefined;
  const withMore = next === undefined ? "" : `; with ${next.trainers}: ${times(next)} of ${byteSize(next.exchangeBytesPerStep)}`;
  if (least === most && wanted.min > 1) return wanted.min > grains ? `one for each of the ${grains} grains` : `as asked for; ${alone}`;
  if (local) {
    const exchange =
      next && `; with ${next.trainers}: ${byteSize(next.exchangeBytesPerStep)} exchanged a step, ${decimals(next.exchanging, 2)} ms`;
    return `more would share the cores of this machine, --trainers asks for them${exchange ?? ""}`;
  }
  if (best.trainers < most) return alone + withMore;
  return `${alone}; more are not ${best.trainers === grains ? `possible with ${grains} grains` : `allowed by trainers.max${withMore}`}`;
}

function times({ computing, exchanging }: Candidate): string {
  return `${decimals(computing, 2)} ms of computing + ${decimals(exchanging, 2)} ms of exchange`;
}
