import { limits } from "../limits.js";
import type { Workers } from "./job.js";

/** A rate and where it comes from. */
export interface Speed {
  readonly value: number;
  /** measured: by an earlier run on this store. probed: a short trial just now. assumed: from the multiply-adds, by the table below. */
  readonly origin: "measured" | "probed" | "assumed";
}

/** Speeds of two cores of a server of 2024, for a plan that nothing was measured for. */
const assumed = {
  /** Frozen network, multiply-adds a second: MobileNetV2 at 224 pixels (0.3 G) 300 times a second. */
  forwardMultiplyAdds: 90e9,
  /** Pictures of 500 x 375 pixels decoded and resized a second. */
  decodedPictures: 400,
  /** Gradient of a head, multiply-adds a second. */
  gradientMultiplyAdds: 50e9,
  /** Calls, batch and update of one step. */
  stepOverheadMs: 0.4,
  /** What a Node client moves through the broker. */
  exchangeBytes: 330e6,
} as const;

/** Pictures a second of decoding and forward pass on the same cores. */
export function assumedExtraction(multiplyAddsPerImage: number): Speed {
  return { value: 1 / (1 / assumed.decodedPictures + multiplyAddsPerImage / assumed.forwardMultiplyAdds), origin: "assumed" };
}

/** Milliseconds of a step of one trainer: forward and both halves of the backward pass. */
export function assumedStep(multiplyAddsPerRow: number, batchSize: number): Speed {
  return { value: assumed.stepOverheadMs + (3000 * multiplyAddsPerRow * batchSize) / assumed.gradientMultiplyAdds, origin: "assumed" };
}

/** Bytes a second through the gradient bus. */
export const assumedExchange: Speed = { value: assumed.exchangeBytes, origin: "assumed" };

/** Node, libraries and code, before any data. */
const PROCESS_BYTES = 200e6;
/** Decoded pictures that wait for the forward pass, in batches. */
const QUEUED_BATCHES = 4;

/** Peak memory of one extractor: frozen weights (as given and as the engine packs them), pictures in flight, a shard and its encoded bytes. */
export function extractorBytes(frozenParameters: number, picturePixels: number, batch: number): number {
  return (
    PROCESS_BYTES +
    2 * 4 * frozenParameters +
    (QUEUED_BATCHES + 1) * batch * picturePixels * 3 * (1 + Float32Array.BYTES_PER_ELEMENT) +
    2 * limits.shardBytes
  );
}

/** Peak memory of one trainer: all features, parameters with their slots, best copy and checkpoint, one partial gradient for each level of the tree. */
export function trainerBytes(featureBytes: number, parameters: number, slots: number, grains: number): number {
  const copies = 3 + slots + Math.ceil(Math.log2(grains)) + 1;
  return PROCESS_BYTES + featureBytes + 4 * parameters * copies;
}

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

/** Rounds of the exchange, each at least this long. */
const EXCHANGE_LATENCY_MS = 2;

/** How many trainers, and why: the fewest of those that finish a step soonest. A trainer works on whole grains, so never more than grains. */
export function chooseTrainers(question: TrainerQuestion): TrainerChoice {
  const { wanted, grains, parameters, millisecondsPerStep, exchangeBytesPerSecond, local } = question;
  const most = Math.min(wanted.max, grains);
  const least = Math.min(wanted.min, most);
  const candidates = Array.from({ length: most - least + 1 }, (_, index) => {
    const trainers = least + index;
    const exchangeBytesPerStep = 2 * 4 * parameters * (trainers - 1);
    const computing = local ? millisecondsPerStep : (millisecondsPerStep * Math.ceil(grains / trainers)) / grains;
    const exchanging = trainers === 1 || local ? 0 : EXCHANGE_LATENCY_MS + (1000 * exchangeBytesPerStep) / exchangeBytesPerSecond;
    return { trainers, exchangeBytesPerStep, computing, exchanging, millisecondsPerStep: computing + exchanging };
  });
  const best = candidates.reduce((a, b) => (b.millisecondsPerStep < a.millisecondsPerStep ? b : a));
  const next = candidates.find(({ trainers }) => trainers === best.trainers + 1);
  const times = (of: { readonly computing: number; readonly exchanging: number }): string =>
    `${of.computing.toFixed(2)} ms of computing + ${of.exchanging.toFixed(2)} ms of exchange`;
  return {
    trainers: best.trainers,
    millisecondsPerStep: best.millisecondsPerStep,
    exchangeBytesPerStep: best.exchangeBytesPerStep,
    reason: reasonOf(),
  };

  function reasonOf(): string {
    if (least === most) return most === wanted.min ? "as asked for" : `one for each of the ${grains} grains`;
    if (local) return "they would share the cores of this machine; --trainers asks for more";
    if (next !== undefined) return `a step takes ${times(best)}; with ${next.trainers}: ${times(next)}`;
    return `a step takes ${times(best)}; more are not ${best.trainers === grains ? `possible with ${grains} grains` : "allowed by trainers.max"}`;
  }
}
