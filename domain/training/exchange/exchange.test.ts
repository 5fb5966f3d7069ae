import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { randomKey, RandomStream } from "../../random.js";
import { evenRange, grainsOfTrainer } from "../grains.js";
import { addRowsAlongTree, alignedSubTrees, type SubTreeSum } from "../tree.js";
import { AllReduce } from "./all-reduce.js";
import { Gather } from "./gather.js";
import { decodeMessage, encodeMessage, hashOfWeights, headerBytes, type Channel, type Message, type Outgoing } from "./message.js";

const hash = hashOfWeights(new Float32Array(3));
const key = new Uint8Array(32).fill(7);

function channel(trainers: number, self: number, changes: Partial<Channel> = {}): Channel {
  return { job: "job-1", generation: 4, trainers, self, key, messageBytes: headerBytes + 4 * 5, ...changes };
}

/** `[grains, length]` of numbers whose float32 sums depend on the order of additions. */
function leaves(grains: number, length: number, seed: number): Float32Array[] {
  const stream = new RandomStream(randomKey(seed, "leaves"));
  return Array.from({ length: grains }, () => Float32Array.from({ length }, () => stream.normal() * [1e-4, 1, 1e4][stream.below(3)]!));
}

function nodesOf(rows: readonly Float32Array[], trainers: number, trainer: number): SubTreeSum[] {
  const { from, to } = grainsOfTrainer(rows.length, trainers, trainer);
  return alignedSubTrees(from, to).map(({ first, grains }) => ({ first, grains, values: treeSum(rows.slice(first, first + grains)) }));
}

function treeSum(rows: readonly Float32Array[]): Float32Array {
  const matrix = new Float32Array(rows.length * rows[0]!.length);
  rows.forEach((row, index) => matrix.set(row, index * row.length));
  return addRowsAlongTree(matrix, rows.length).slice();
}

function digest(values: Float32Array | undefined): string {
  return values === undefined
    ? "undefined"
    : createHash("sha256")
        .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
        .digest("hex");
}

/** A bus that delivers in random order, repeats a quarter and loses a share of the messages. */
class UnreliableBus {
  readonly #queue: { from: number; to: number; payload: Uint8Array }[] = [];
  readonly peers: readonly { receive(payload: Uint8Array): { outgoing: readonly Outgoing[] } }[];
  readonly stream: RandomStream;
  readonly lossPercent: number;

  constructor(peers: UnreliableBus["peers"], stream: RandomStream, lossPercent: number) {
    this.peers = peers;
    this.stream = stream;
    this.lossPercent = lossPercent;
  }

  publish(from: number, outgoing: readonly Outgoing[]): void {
    for (const { to, payload } of outgoing) {
      for (let trainer = 0; trainer < this.peers.length; trainer++) {
        if (to !== "all" && to !== trainer) continue;
        if (this.stream.below(100) < this.lossPercent) continue;
        this.#queue.push({ from, to: trainer, payload });
        if (this.stream.below(4) === 0) this.#queue.push({ from, to: trainer, payload });
      }
    }
  }

  deliverAll(): void {
    let deliveries = 0;
    while (this.#queue.length > 0) {
      expect(++deliveries).toBeLessThan(1e5); // answers must not answer each other for ever
      const [message] = this.#queue.splice(this.stream.below(this.#queue.length), 1);
      this.publish(message!.to, this.peers[message!.to]!.receive(message!.payload.slice()).outgoing);
    }
  }
}

describe("all-reduce", () => {
  const cases = [1, 2, 3, 4, 5, 8]
    .flatMap((trainers) => Array.from({ length: 5 }, (_, exponent) => ({ trainers, grains: 2 ** exponent })))
    .filter(({ trainers, grains }) => trainers <= grains);

  test.each(cases)(
    "$trainers trainers and $grains grains: the bits of the tree alone, whatever the order, repeats and losses",
    ({ trainers, grains }) => {
      for (const length of [0, 1, 3, 47]) {
        for (const lossPercent of [0, 30]) {
          const stream = new RandomStream(randomKey(length, `bus ${trainers} ${grains} ${lossPercent}`));
          const peers = Array.from({ length: trainers }, (_, self) => new AllReduce(channel(trainers, self), grains, length, 500));
          const bus = new UnreliableBus(peers, stream, lossPercent);
          for (let step = 500; step < 504; step++) {
            const rows = leaves(grains, length, step);
            peers.forEach((peer, self) => {
              const sums = nodesOf(rows, trainers, self);
              expect(peer.ownNodes).toEqual(sums.map(({ first, grains: count }) => ({ first, grains: count })));
              bus.publish(self, peer.begin(step, sums, hash));
              if (stream.below(2) === 0) bus.deliverAll(); // some begin late and find messages waiting
            });
            bus.deliverAll();
            for (let round = 0; peers.some((peer) => peer.result === undefined); round++) {
              expect(round).toBeLessThan(200);
              peers.forEach((peer, self) => {
                if (peer.result === undefined) bus.publish(self, peer.resend());
              });
              bus.deliverAll();
            }
            const expected = digest(treeSum(rows));
            for (const peer of peers) expect(digest(peer.result)).toBe(expected);
          }
        }
      }
    },
  );

  test("a trainer one step ahead still answers for the step before", () => {
    const [a, b] = [0, 1].map((self) => new AllReduce(channel(2, self), 2, 4, 0)) as [AllReduce, AllReduce];
    const rows = leaves(2, 4, 1);
    const fromA = a.begin(0, nodesOf(rows, 2, 0), hash);
    const fromB = b.begin(0, nodesOf(rows, 2, 1), hash);
    const finishedByB = fromA.flatMap(({ payload }) => b.receive(payload).outgoing);
    fromB.forEach(({ payload }) => a.receive(payload)); // a's finished part is lost on its way to b
    finishedByB.forEach(({ payload }) => a.receive(payload));
    expect(a.result).toBeDefined();
    expect(b.missing()).toEqual([0]);
    const next = leaves(2, 4, 2);
    const ahead = a.begin(1, nodesOf(next, 2, 0), hash);
    ahead.forEach(({ payload }) => expect(b.receive(payload).reception).toBe("taken"));
    const answers = b.resend().flatMap(({ to, payload }) => (to === 0 || to === "all" ? a.receive(payload).outgoing : []));
    expect(answers.map(({ to }) => to)).toEqual([1]);
    answers.forEach(({ payload }) => b.receive(payload));
    expect(digest(b.result)).toBe(digest(treeSum(rows)));
    const answer = b.begin(1, nodesOf(next, 2, 1), hash);
    answer.forEach(({ payload }) => a.receive(payload).outgoing.forEach((finished) => b.receive(finished.payload)));
    expect(digest(b.result)).toBe(digest(treeSum(next)));
  });

  test("a short vector has one part, as few messages as possible, and the same sum", () => {
    const peers = [0, 1, 2].map((self) => new AllReduce(channel(3, self, { messageBytes: headerBytes + 4 * 40 }), 8, 19, 0));
    expect(peers[0]!.parts).toEqual([{ from: 0, to: 19 }]);
    const rows = leaves(8, 19, 1);
    const sent = peers.map((peer, self) => peer.begin(0, nodesOf(rows, 3, self), hash));
    expect(sent.map((messages) => messages.map(({ to }) => to))).toEqual([[], [0, 0], [0, 0]]);
    const finished = sent.flat().flatMap(({ payload }) => peers[0]!.receive(payload).outgoing);
    expect(finished.map(({ to }) => to)).toEqual(["all"]);
    for (const peer of peers) {
      finished.forEach(({ payload }) => peer.receive(payload));
      expect(digest(peer.result)).toBe(digest(treeSum(rows)));
    }
    expect(new AllReduce(channel(3, 0, { messageBytes: headerBytes + 4 * 40 }), 8, 20, 0).parts).toHaveLength(2);
  });

  test("a chunk that all trainers have sent is finished while others are on their way", () => {
    const [a, b] = [0, 1].map((self) => new AllReduce(channel(2, self), 2, 20, 0)) as [AllReduce, AllReduce];
    const rows = leaves(2, 20, 1);
    a.begin(0, nodesOf(rows, 2, 0), hash);
    const [first, second] = b.begin(0, nodesOf(rows, 2, 1), hash);
    const early = a.receive(second!.payload).outgoing;
    expect(early).toHaveLength(1);
    expect(a.receive(second!.payload)).toEqual({ reception: "repeated", outgoing: [] });
    expect(decodeMessage(channel(2, 1), early[0]!.payload)).toMatchObject({ kind: "finished", part: 0, chunk: 1 });
    expect(a.receive(first!.payload).outgoing).toHaveLength(1);
    expect(a.missing()).toEqual([1]);
  });

  test("names who is missing", () => {
    const peers = [0, 1, 2].map((self) => new AllReduce(channel(3, self), 8, 10, 0));
    const rows = leaves(8, 10, 1);
    const sent = [0, 2].map((self) => peers[self]!.begin(0, nodesOf(rows, 3, self), hash));
    for (const { to, payload } of sent.flat()) peers[to as number]!.receive(payload);
    expect(peers[0]!.missing()).toEqual([1, 2]);
    expect(peers[0]!.silent()).toEqual([1]); // 2 waits for 1 itself
    expect(peers[1]!.missing()).toEqual([]); // not begun: waits for nobody
    expect(peers[1]!.result).toBeUndefined();
  });

  test("different weights are TRAINERS_DIVERGED, whoever comes first", () => {
    const other = hashOfWeights(new Float32Array([1, 2, 3]));
    const rows = leaves(2, 4, 1);
    for (const late of [false, true]) {
      const [a, b] = [0, 1].map((self) => new AllReduce(channel(2, self), 2, 4, 0)) as [AllReduce, AllReduce];
      const sent = a.begin(0, nodesOf(rows, 2, 0), other);
      const meet = (): void => sent.forEach(({ payload }) => b.receive(payload));
      if (late) {
        meet();
        expect(() => b.begin(0, nodesOf(rows, 2, 1), hash)).toThrow(/step 0: the weights of trainer 0 differ from those of trainer 1/u);
      } else {
        b.begin(0, nodesOf(rows, 2, 1), hash);
        expect(meet).toThrow(/TRAINERS_DIVERGED|the weights of trainer 0 differ/u);
      }
    }
  });
});

describe("messages", () => {
  const message: Message = {
    kind: "partial",
    sender: 1,
    step: 2 ** 40,
    part: 2,
    node: { first: 4, grains: 2 },
    chunk: 3,
    weightsHash: hash,
    asks: false,
    values: new Uint8Array(8).fill(3),
  };
  const from = channel(3, 1);

  test("are read as they were written, at any address", () => {
    const bytes = encodeMessage(from, message);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    const decoded = decodeMessage(channel(3, 0), shifted.subarray(1)) as Message;
    expect({ ...decoded, values: Uint8Array.from(decoded.values) }).toEqual(message);
  });

  test("every flipped byte, a cut end and a foreign key are noticed", () => {
    const bytes = encodeMessage(from, message);
    for (let at = 0; at < bytes.length; at++) {
      const flipped = bytes.slice();
      flipped[at]! ^= 1;
      expect(decodeMessage(channel(3, 0), flipped), `byte ${at}`).toBe(
        at >= 8 && at < 24 ? "otherJob" : at >= 24 && at < 28 ? "otherGeneration" : "damaged",
      );
    }
    for (let length = 0; length < bytes.length; length++) expect(decodeMessage(channel(3, 0), bytes.subarray(0, length))).toBe("damaged");
    expect(decodeMessage(channel(3, 0, { key: new Uint8Array(32) }), bytes)).toBe("damaged");
    expect(decodeMessage(channel(3, 0, { generation: 5 }), bytes)).toBe("otherGeneration");
    expect(decodeMessage(channel(3, 0, { job: "job-2" }), bytes)).toBe("otherJob");
  });

  test("the hash of weights shows every single flipped bit, swapped values and another length", () => {
    const weights = leaves(1, 11, 1)[0]!;
    const hashes = new Set([
      hashOfWeights(weights),
      hashOfWeights(weights.subarray(0, 10)),
      hashOfWeights(new Float32Array(0)),
      hashOfWeights(new Float32Array(1)),
    ]);
    const bits = new Int32Array(weights.buffer);
    for (let i = 0; i < 11; i++) {
      for (let bit = 0; bit < 32; bit++) {
        bits[i]! ^= 1 << bit;
        hashes.add(hashOfWeights(weights));
        bits[i]! ^= 1 << bit;
      }
    }
    hashes.add(hashOfWeights(Float32Array.from(weights).reverse()));
    expect(hashes.size).toBe(4 + 11 * 32 + 1);
  });

  test("are never longer than the limit", () => {
    const sent = new AllReduce(channel(2, 0, { messageBytes: 1_000 }), 2, 5_000, 0).begin(0, nodesOf(leaves(2, 5_000, 1), 2, 0), hash);
    expect(Math.max(...sent.map(({ payload }) => payload.length))).toBe(1_000);
  });
});

describe("gather", () => {
  test.each([1, 2, 3, 5])("%i trainers: the same vector for all, whatever the order, repeats and losses", (trainers) => {
    for (const lossPercent of [0, 30]) {
      const stream = new RandomStream(randomKey(trainers, `gather ${lossPercent}`));
      const peers = Array.from({ length: trainers }, (_, self) => new Gather(channel(trainers, self)));
      const bus = new UnreliableBus(peers, stream, lossPercent);
      for (const key of [
        { step: 10, topic: 0 },
        { step: 10, topic: 1 },
        { step: 20, topic: 0 },
      ]) {
        for (const length of [2, 33]) {
          const whole = Float32Array.from({ length }, (_, i) => i + key.step);
          const ranges = peers.map((_, self) => evenRange(length, trainers, self));
          const thisKey = { ...key, topic: key.topic * 2 + (length === 2 ? 0 : 1) };
          peers.forEach((peer, self) => {
            bus.publish(self, peer.begin(thisKey, ranges, whole.slice(ranges[self]!.from, ranges[self]!.to), hash));
            if (stream.below(2) === 0) bus.deliverAll();
          });
          bus.deliverAll();
          for (let round = 0; peers.some((peer) => peer.result === undefined); round++) {
            expect(round).toBeLessThan(200);
            peers.forEach((peer, self) => {
              if (peer.result === undefined) bus.publish(self, peer.resend());
            });
            bus.deliverAll();
          }
          for (const peer of peers) expect(peer.result).toEqual(whole);
        }
      }
    }
  });

  test("different weights are TRAINERS_DIVERGED", () => {
    const [a, b] = [0, 1].map((self) => new Gather(channel(2, self))) as [Gather, Gather];
    const ranges = [evenRange(4, 2, 0), evenRange(4, 2, 1)];
    const sent = a.begin({ step: 1, topic: 0 }, ranges, new Float32Array(2), hashOfWeights(new Float32Array([9])));
    b.begin({ step: 1, topic: 0 }, ranges, new Float32Array(2), hash);
    expect(() => sent.forEach(({ payload }) => b.receive(payload))).toThrow(/weights of trainer 0 differ/u);
  });
});
