import assert from "node:assert";
import { CodedError } from "../../errors.js";
import { evenRange, type Range } from "../grains.js";
import type { SubTree, SubTreeSum } from "../tree.js";
import { ChunkedVector, type Taken } from "./chunked-vector.js";
import {
  askingAgain,
  decodeMessage,
  encodeChunk,
  encodeMessages,
  isOwn,
  valuesPerMessage,
  type Channel,
  type Message,
  type Outgoing,
  type Refusal,
} from "./message.js";
import { ownedSubTrees, PartReducer } from "./part-reducer.js";

/** What became of a received message: "stale" belongs to a step that is over, "early" to one that nobody in this generation can have reached. */
export type Reception = Taken | "hello" | "stale" | "early" | "own" | Refusal;

export interface Received {
  readonly reception: Reception;
  /** To be published at once. */
  readonly outgoing: readonly Outgoing[];
}

/**
 * The all-reduce of one generation as seen by one trainer; pure, so that it runs in a simulation tick.
 *
 * begin(step): sends this trainer's tree nodes of part k to trainer k, which owns part k. Short vectors have fewer parts than trainers: the bytes are the same, the messages fewer.
 * receive:     takes nodes of the own part; when all have a chunk, adds it along the tree and sends the finished chunk to all. Takes finished chunks of others.
 * result:      the whole vector, once every part is there.
 *
 * A trainer may be one step ahead of another, never two: it needs everyone's nodes. Messages of the next step are kept for `begin`.
 * Lost messages: `resend` repeats what this trainer sent and asks; an owner answers with what it has finished of its part, in this step or the last.
 */
export class AllReduce {
  readonly parts: readonly Range[];
  readonly #channel: Channel;
  readonly #owned: readonly (readonly SubTree[])[];
  #current: StepState;
  #next: StepState;
  #previousFinished: { step: number; messages: readonly Outgoing[] } = { step: -1, messages: [] };

  /** `length`: values of the vector, the same for all trainers; `grains` at least as many as trainers; `firstStep`: where the generation starts. */
  constructor(channel: Channel, grains: number, length: number, firstStep: number) {
    this.#channel = channel;
    this.#owned = ownedSubTrees(grains, channel.trainers);
    const parts = partsOf(channel, length);
    this.parts = Array.from({ length: parts }, (_, part) => evenRange(length, parts, part));
    this.#current = new StepState(channel, this.#owned, this.parts);
    this.#next = new StepState(channel, this.#owned, this.parts);
    this.#next.reset(firstStep);
  }

  /** Whether this trainer hears from everyone, not from owners alone. */
  get ownsPart(): boolean {
    return this.#channel.self < this.parts.length;
  }

  /** Tree nodes that this trainer adds up alone and gives to `begin`. */
  get ownNodes(): readonly SubTree[] {
    return this.#owned[this.#channel.self] ?? [];
  }

  /**
   * Begins the generation's first step, or the one after the last, with the sums of `ownNodes` over the whole vector; they are copied.
   * @throws CodedError TRAINERS_DIVERGED where a message for this step came from other weights.
   */
  begin(step: number, sums: readonly SubTreeSum[], weightsHash: string): Outgoing[] {
    assert(step === this.#next.step, `step ${this.#next.step} comes next, not ${step}`);
    this.#previousFinished = { step: this.#current.step, messages: this.#current.finishedMessages };
    [this.#current, this.#next] = [this.#next, this.#current];
    const state = this.#current;
    this.#next.reset(step + 1);
    state.setWeightsHash(this.#channel.self, weightsHash);
    for (const { values, ...node } of sums) {
      this.parts.forEach(({ from, to }, part) => {
        const slice = values.subarray(from, to);
        if (part === this.#channel.self) state.reducer?.takeOwn(part, node, slice);
        else state.sent.push(...encodeMessages(this.#channel, part, { kind: "partial", step, part, node, weightsHash }, slice));
      });
    }
    return [...state.sent, ...this.#finishOwnPart(state)];
  }

  /** @throws CodedError TRAINERS_DIVERGED where the sender's weights are not this trainer's. */
  receive(payload: Uint8Array): Received {
    if (isOwn(this.#channel, payload)) return { reception: "own", outgoing: [] };
    const message = decodeMessage(this.#channel, payload);
    if (typeof message === "string") return { reception: message, outgoing: [] };
    if (message.kind === "hello") return { reception: "hello", outgoing: [] };
    if (message.kind === "gathered") return { reception: "misfit", outgoing: [] };
    const { step, sender, asks } = message;
    const state = step === this.#current.step ? this.#current : step === this.#next.step ? this.#next : undefined;
    if (state === undefined) {
      return {
        reception: step < this.#current.step ? "stale" : "early",
        outgoing: asks && step === this.#previousFinished.step ? addressed(this.#previousFinished.messages, sender) : [],
      };
    }
    state.setWeightsHash(sender, message.weightsHash);
    const answer = asks ? addressed(state.finishedMessages, sender) : [];
    const reception = state.take(message);
    return { reception, outgoing: reception === "taken" ? [...answer, ...this.#finishOwnPart(state)] : answer };
  }

  /** The sum of all grains over the whole vector; valid until the next `begin`. Undefined while something is missing. */
  get result(): Float32Array | undefined {
    return this.#current.step >= 0 && this.#current.complete ? this.#current.result : undefined;
  }

  /** Trainers for whom this one waits, ascending: those with nodes of the own part missing, and owners of missing parts. None before the first `begin`. */
  missing(): number[] {
    return this.#current.step < 0 ? [] : this.#current.missing();
  }

  /**
   * Of the missing, those to whom it is due: whose nodes of the own part have not come. An owner's part may be missing only because it waits for the same trainer, so owners are
   * named where all nodes are there.
   */
  silent(): number[] {
    return this.#current.step < 0 ? [] : this.#current.silent();
  }

  /** What this trainer has sent in the current step, again; every owner is asked for its part. */
  resend(): Outgoing[] {
    const { self, trainers } = this.#channel;
    const others = Array.from({ length: trainers }, (_, trainer) => trainer).filter((trainer) => trainer !== self);
    const partials = others.flatMap((owner) =>
      askingAgain(
        this.#channel,
        this.#current.sent.filter(({ to }) => to === owner),
      ),
    );
    return [...partials, ...this.#current.finishedMessages];
  }

  /** Messages with the chunks of the own part that have been added up since the last call. */
  #finishOwnPart(state: StepState): readonly Outgoing[] {
    const { self, trainers } = this.#channel;
    const finished: Outgoing[] = [];
    for (const chunk of state.finishChunks()) {
      if (trainers === 1) continue;
      const header = { kind: "finished", step: state.step, part: self, node: wholeTree, weightsHash: state.weightsHashOf(self) } as const;
      finished.push(encodeChunk(this.#channel, "all", header, chunk.index, chunk.values));
    }
    state.finishedMessages.push(...finished);
    return finished;
  }
}

/** In the header of a finished part, whose node is known. */
const wholeTree: SubTree = { first: 0, grains: 0 };

/**
 * Parts of a vector of `length` values, at most one a trainer. Each fills a quarter of a message or more, for a message costs as much as the bytes of some ten thousand values. What the broker
 * carries is the same for any number of parts, and no owner's link carries more than the broker's.
 */
function partsOf(channel: Channel, length: number): number {
  return Math.max(1, Math.min(channel.trainers, Math.floor(length / Math.ceil(valuesPerMessage(channel) / 4))));
}

function addressed(sent: readonly Outgoing[], to: number): Outgoing[] {
  return sent.map((outgoing) => ({ ...outgoing, to }));
}

/** Everything of one step. Two of them take turns, so that no step allocates vectors. */
class StepState {
  step = -1;
  readonly result: Float32Array;
  readonly parts: readonly ChunkedVector[];
  /** Undefined where this trainer owns no part. */
  readonly reducer: PartReducer | undefined;
  /** Partials to other owners. */
  sent: Outgoing[] = [];
  /** The own part for all, once it is finished. */
  finishedMessages: Outgoing[] = [];
  readonly #channel: Channel;
  readonly #weightsHashes: (string | undefined)[];

  constructor(channel: Channel, owned: readonly (readonly SubTree[])[], parts: readonly Range[]) {
    this.#channel = channel;
    const perChunk = valuesPerMessage(channel);
    this.result = new Float32Array(parts.at(-1)?.to ?? 0);
    this.parts = parts.map(({ from, to }) => new ChunkedVector(this.result.subarray(from, to), perChunk));
    const own = this.parts[channel.self];
    this.reducer = own && new PartReducer(owned, own.values, perChunk);
    this.#weightsHashes = new Array<string | undefined>(channel.trainers);
  }

  reset(step: number): void {
    this.step = step;
    for (const part of this.parts) part.reset();
    this.reducer?.reset();
    this.sent = [];
    this.finishedMessages = [];
    this.#weightsHashes.fill(undefined);
  }

  take(message: Message): Taken {
    if (message.kind === "partial") {
      if (message.part !== this.#channel.self) return "misfit";
      return this.reducer?.take(message.sender, message.node, message.chunk, message.values) ?? "misfit";
    }
    if (message.part !== message.sender) return "misfit";
    return this.parts[message.part]?.take(message.chunk, message.values) ?? "misfit";
  }

  /** The chunks of the own part that have been added up since the last call. */
  finishChunks(): { index: number; values: Float32Array }[] {
    const part = this.parts[this.#channel.self];
    const finished: { index: number; values: Float32Array }[] = [];
    if (part === undefined || part.complete) return finished;
    for (let index = 0; index < part.chunks; index++) {
      if (part.has(index) || this.reducer?.isAdded(index) !== true) continue;
      part.mark(index);
      finished.push({ index, values: part.chunkValues(index) });
    }
    return finished;
  }

  /** Whether all parts are there, the own one added up. */
  get complete(): boolean {
    return this.parts.every((part) => part.complete);
  }

  missing(): number[] {
    const owners = this.parts.flatMap((part, owner) => (part.complete || owner === this.#channel.self ? [] : [owner]));
    return [...new Set([...(this.reducer?.missing() ?? []), ...owners])].sort((a, b) => a - b);
  }

  silent(): number[] {
    const withoutNodes = this.reducer?.missing() ?? [];
    return withoutNodes.length > 0 ? withoutNodes : this.missing();
  }

  weightsHashOf(trainer: number): string {
    const hash = this.#weightsHashes[trainer];
    assert(hash !== undefined, `the weights of trainer ${trainer} in step ${this.step} are not known`);
    return hash;
  }

  setWeightsHash(trainer: number, hash: string): void {
    this.#weightsHashes[trainer] ??= hash;
    const { self } = this.#channel;
    const own = this.#weightsHashes[self];
    if (trainer !== self && hash === own) return;
    const differing =
      own === undefined ? [] : this.#weightsHashes.flatMap((other, index) => (other !== undefined && other !== own ? [index] : []));
    if (differing.length > 0 || this.#weightsHashes[trainer] !== hash) {
      const others = differing.length > 0 ? differing : [trainer];
      throw new CodedError(
        "TRAINERS_DIVERGED",
        `generation ${this.#channel.generation}, step ${this.step}: the weights of trainer ${others.join(", ")} differ from those of trainer ${self} (${own ?? "not begun"}); ` +
          "start again from the last checkpoint, and look for trainers on different machines or versions",
        { step: this.step, self, others },
      );
    }
  }
}
