import assert from "node:assert";
import { CodedError } from "../../errors.js";
import type { Range } from "../grains.js";
import type { Received } from "./all-reduce.js";
import { ChunkedVector } from "./chunked-vector.js";
import {
  askingAgain,
  decodeMessage,
  encodeMessages,
  isOwn,
  valuesPerMessage,
  type Channel,
  type Message,
  type Outgoing,
} from "./message.js";

/** Which vector is gathered: an evaluation after `step` updates, told apart by a small number. Keys ascend. */
export interface GatherKey {
  readonly step: number;
  readonly topic: number;
}

/**
 * Gathers vectors of which every trainer computed one range, e.g. the leaves of an evaluation: each publishes its range to all, everyone puts them together in order.
 * One gather after another; a trainer can be one ahead, whose messages are kept. Lost messages: `resend`; a peer that has finished the gather answers with its range.
 */
export class Gather {
  readonly #channel: Channel;
  #current:
    | {
        readonly key: GatherKey;
        readonly weightsHash: string;
        readonly whole: Float32Array;
        readonly ranges: readonly ChunkedVector[];
        readonly sent: readonly Outgoing[];
      }
    | undefined;
  #previous: { readonly key: GatherKey; readonly sent: readonly Outgoing[] } | undefined;
  /** Messages of one gather that others have begun and this trainer has not. */
  #early: { readonly key: GatherKey; readonly messages: Map<string, Message> } | undefined;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /**
   * Begins a gather; `ranges[trainer]` divide the vector, `own` are the values of this trainer's range.
   * @throws CodedError TRAINERS_DIVERGED where a message for it came from other weights.
   */
  begin(key: GatherKey, ranges: readonly Range[], own: Float32Array, weightsHash: string): readonly Outgoing[] {
    const { self, trainers } = this.#channel;
    assert(ranges.length === trainers, `${ranges.length} ranges for ${trainers} trainers`);
    const whole = new Float32Array(ranges.at(-1)?.to ?? 0);
    const vectors = ranges.map(({ from, to }) => new ChunkedVector(whole.subarray(from, to), valuesPerMessage(this.#channel)));
    const mine = vectors[self];
    assert(
      mine !== undefined && mine.values.length === own.length,
      `trainer ${self} gives ${own.length} values to a range of ${mine?.values.length}`,
    );
    mine.takeAll(own);
    const header = { kind: "gathered", step: key.step, part: key.topic, node: { first: 0, grains: 0 }, weightsHash } as const;
    const sent = trainers === 1 ? [] : encodeMessages(this.#channel, "all", header, own);
    this.#previous = this.#current;
    this.#current = { key, weightsHash, whole, ranges: vectors, sent };
    const early = this.#early;
    if (early !== undefined && isSame(early.key, key)) {
      this.#early = undefined;
      for (const message of early.messages.values()) this.#take(message);
    }
    return sent;
  }

  /** @throws CodedError TRAINERS_DIVERGED where the sender's weights are not this trainer's. */
  receive(payload: Uint8Array): Received {
    if (isOwn(this.#channel, payload)) return { reception: "own", outgoing: [] };
    const message = decodeMessage(this.#channel, payload);
    if (typeof message === "string") return { reception: message, outgoing: [] };
    if (message.kind !== "gathered") return { reception: "misfit", outgoing: [] };
    const key = { step: message.step, topic: message.part };
    if (this.#current !== undefined && isSame(this.#current.key, key)) {
      const reception = this.#take(message);
      return { reception, outgoing: answer(message, this.#current.sent) };
    }
    if (this.#previous !== undefined && isSame(this.#previous.key, key))
      return { reception: "stale", outgoing: answer(message, this.#previous.sent) };
    if (this.#current !== undefined && isBefore(key, this.#current.key)) return { reception: "stale", outgoing: [] };
    if (this.#early === undefined || !isSame(this.#early.key, key)) this.#early = { key, messages: new Map() };
    this.#early.messages.set(`${message.sender} ${message.chunk}`, { ...message, values: new Uint8Array(message.values) });
    return { reception: "taken", outgoing: [] };
  }

  /** The whole vector; undefined while something is missing. */
  get result(): Float32Array | undefined {
    return this.#current !== undefined && this.missing().length === 0 ? this.#current.whole : undefined;
  }

  /** Trainers whose range is missing, ascending. */
  missing(): number[] {
    return this.#current?.ranges.flatMap((range, trainer) => (range.complete ? [] : [trainer])) ?? [];
  }

  /** This trainer's range again; it asks the others for theirs. */
  resend(): Outgoing[] {
    return askingAgain(this.#channel, this.#current?.sent ?? []);
  }

  #take(message: Message): "taken" | "repeated" | "misfit" {
    const current = this.#current;
    assert(current !== undefined);
    if (message.weightsHash !== current.weightsHash) {
      throw new CodedError(
        "TRAINERS_DIVERGED",
        `generation ${this.#channel.generation}, evaluation after step ${message.step}: the weights of trainer ${message.sender} differ from those of trainer ${this.#channel.self}; ` +
          "start again from the last checkpoint, and look for trainers on different machines or versions",
        { step: message.step, self: this.#channel.self, others: [message.sender] },
      );
    }
    return current.ranges[message.sender]?.take(message.chunk, message.values) ?? "misfit";
  }
}

function answer(message: Message, sent: readonly Outgoing[]): Outgoing[] {
  return message.asks ? sent.map((outgoing) => ({ ...outgoing, to: message.sender })) : [];
}

function isSame(a: GatherKey, b: GatherKey): boolean {
  return a.step === b.step && a.topic === b.topic;
}

function isBefore(a: GatherKey, b: GatherKey): boolean {
  return a.step < b.step || (a.step === b.step && a.topic < b.topic);
}
