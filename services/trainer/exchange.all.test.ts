import { connect as connectTcp } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { CodedError } from "../../domain/errors.js";
import { randomKey, RandomStream } from "../../domain/random.js";
import { encodeMessage, exchangeSubject, type Channel } from "../../domain/training/exchange/message.js";
import { addRowsAlongTree } from "../../domain/training/tree.js";
import { systemClock } from "../../platform/clock/system.js";
import type { GradientBus } from "../../platform/gradient-bus/gradient-bus.js";
import { natsGradientBus, type NatsOptions } from "../../platform/gradient-bus/nats.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { NatsServer, type NatsServerOptions } from "../../test/support/nats-server.js";
import { PausingProxy } from "../../test/support/pausing-proxy.js";
import { Exchange } from "./exchange.js";

const GRAINS = 8;
const WEIGHTS = "0".repeat(32);
const KEY = new Uint8Array(32).fill(7);
const found = goProgram("nats-server") !== undefined;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

describe.skipIf(!found)(`the exchange over NATS${found ? "" : `, ${withoutProgram("nats-server")}`}`, () => {
  test.each([2, 3, 8])("%i trainers: the sums of the tree", async (count) => {
    const { trainers, step } = await setup({ count });
    for (let index = 0; index < 5; index++) await step(index);
    expect(trainers.length).toBe(count);
  });

  test("a handler that throws on a trainer's own connection is in nobody's way", async () => {
    const errors: unknown[] = [];
    const { trainers, step } = await setup({ onError: (error) => errors.push(error) });
    for (const to of [0, "all"] as const) {
      trainers[0]!.bus.subscribe(exchangeSubject("job", 4, to), () => {
        throw new Error("a metric that cannot be counted");
      });
    }
    for (let index = 0; index < 3; index++) await step(index);
    expect(errors.length).toBeGreaterThanOrEqual(3);
  });

  test("nats-server is killed in the middle of a step and comes back: the same sums", async () => {
    const lost: number[] = [];
    const { server, trainers, step } = await setup({ onLost: (rank) => lost.push(rank) });
    await step(0);
    const [first, ...others] = trainers;
    const reduced = [first!.reduce(1)]; // its messages are on their way
    await server.kill("SIGKILL");
    reduced.push(...others.map((trainer) => trainer.reduce(1)));
    while (lost.length < trainers.length) await new Promise(setImmediate);
    await server.restart();
    for (const sum of await Promise.all(reduced)) expectSum(sum, 1);
    await step(2);
  });

  test("messages that are dropped, doubled and in another order: the same sums", async () => {
    const faults = { dropped: 0, doubled: 0, reordered: 0 };
    const { step } = await setup({
      count: 4,
      wrap: (bus, rank) => {
        const stream = new RandomStream(randomKey(rank, "faults"));
        const later: (() => void)[] = [];
        return {
          ...bus,
          payloadBytesMax: bus.payloadBytesMax,
          publish(subject, payload) {
            const send = (): void => bus.publish(subject, payload);
            const kind = stream.below(10);
            if (kind < 3) faults.dropped += 1;
            else if (kind < 5) {
              faults.reordered += 1;
              later.push(send); // after the next one
              return;
            } else {
              if (kind < 7) {
                faults.doubled += 1;
                send();
              }
              send();
            }
            for (const waiting of later.splice(0)) waiting();
          },
          subscribe: (subject, handler) => bus.subscribe(subject, handler),
          close: () => bus.close(),
        };
      },
    });
    for (let index = 0; index < 10; index++) await step(index);
    for (const [name, count] of Object.entries(faults)) expect(count, name).toBeGreaterThan(5);
  });

  test("a flipped byte: the message is dropped as damaged and sent again", async () => {
    let flipped = 0;
    const { step } = await setup({
      wrap: (bus) => ({
        payloadBytesMax: bus.payloadBytesMax,
        publish(subject, payload) {
          const bytes = new Uint8Array(payload);
          if (flipped < 6) bytes[200]! ^= 1 << flipped++;
          bus.publish(subject, bytes);
        },
        subscribe: (subject, handler) => bus.subscribe(subject, handler),
        close: () => bus.close(),
      }),
    });
    await step(0);
    expect(flipped).toBe(6);
  });

  test("messages of an older generation, of another job and of who has no key count for nothing", async () => {
    const { server, trainers, step } = await setup({});
    const stranger = await open(server.url, {});
    const forged = (changes: Partial<Channel>): Uint8Array =>
      encodeMessage(
        { ...channel(2, 1), ...changes },
        {
          kind: "finished",
          sender: 1,
          step: 0,
          part: 1,
          node: { first: 0, grains: 0 },
          chunk: 0,
          weightsHash: WEIGHTS,
          asks: false,
          values: new Uint8Array(4 * (LENGTH / 2)).fill(9),
        },
      );
    const messages = [forged({ generation: 3 }), forged({ job: "other" }), forged({ key: new Uint8Array(32) })];
    const received: number[] = [];
    const all = new Promise<void>((resolve) => {
      trainers[0]!.bus.subscribe(exchangeSubject("job", 4, 0), (payload) => {
        if (received.push(payload.length) === messages.length) resolve();
      });
    });
    const timer = setInterval(() => messages.forEach((payload) => stranger.publish(exchangeSubject("job", 4, 0), payload)), 20);
    await all;
    clearInterval(timer);
    await step(0);
    // The same message with the right channel would have counted.
    stranger.publish(exchangeSubject("job", 4, 0), forged({}));
    await step(1);
  });

  test("a peer that never answers: EXCHANGE_INCOMPLETE names it within the deadline", async () => {
    const length = 100_000; // each owns a part
    const { trainers, step } = await setup({ count: 3, length, deadlineMs: 500 });
    await step(0, length);
    const start = performance.now();
    const outcomes = await Promise.allSettled(trainers.slice(0, 2).map((trainer) => trainer.reduce(1)));
    const elapsedMs = performance.now() - start;
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "EXCHANGE_INCOMPLETE", details: { missing: ["trainer-2"] } } });
    expect(elapsedMs).toBeGreaterThanOrEqual(490);
  });

  test("of a short vector one trainer hears from all: it is the first to name who never answers", async () => {
    const { trainers, step } = await setup({ count: 3, deadlineMs: 500 });
    await step(0);
    const told: unknown[] = [];
    const tell = (error: unknown): void => void told.push((error as CodedError).details["missing"]);
    await Promise.all(trainers.slice(0, 2).map((trainer) => trainer.reduce(1).catch(tell)));
    expect(told[0]).toEqual(["trainer-2"]);
    expect(told).toHaveLength(2);
  });

  test("a deaf reader of a subject is cut off by the server, and the trainers go on", async () => {
    const { server, step } = await setup({ length: 500_000, server: { maxPendingBytes: 8 * 1024 * 1024 } });
    const deaf = connectTcp(server.port, "127.0.0.1");
    cleanUps.push(() => void deaf.destroy());
    deaf.on("error", () => undefined);
    deaf.pause();
    deaf.write(`CONNECT {"verbose":false}\r\nSUB ${exchangeSubject("job", 4, "all")} 1\r\nPING\r\n`);
    let index = 0;
    while ((await server.counters()).slowConsumers === 0) await step(index++, 500_000);
    expect(index).toBeGreaterThan(0);
    await step(index, 500_000);
  });

  test("a trainer that the server cuts off as slow comes back, and the step ends with the same sums", async () => {
    const lost: number[] = [];
    const length = 500_000;
    const { server, trainers, step, proxy } = await setup({
      length,
      server: { maxPendingBytes: 4 * 1024 * 1024 },
      proxied: 1,
      onLost: (rank) => lost.push(rank),
    });
    await step(0, length);
    proxy!.pause();
    const first = trainers[0]!.reduce(1, length); // sends again and again to one who does not read
    while ((await server.counters()).slowConsumers === 0) await new Promise(setImmediate);
    proxy!.resume();
    for (const sum of await Promise.all([first, trainers[1]!.reduce(1, length)])) expectSum(sum, 1, length);
    expect(lost).toEqual([1]);
    await step(2, length);
  });
});

const LENGTH = 1_000;

interface Options {
  readonly count?: number;
  readonly length?: number;
  readonly deadlineMs?: number;
  readonly server?: NatsServerOptions;
  /** The trainer that reaches the server through `proxy`. */
  readonly proxied?: number;
  readonly onError?: NatsOptions["onError"];
  readonly onLost?: (rank: number) => void;
  readonly wrap?: (bus: GradientBus, rank: number) => GradientBus;
}

/** A server and trainers with connections of their own. `step` runs one step in all of them and compares its sums. */
async function setup(options: Options) {
  const { count = 2, length = LENGTH, deadlineMs = 30_000, wrap = (bus: GradientBus) => bus } = options;
  const server = await NatsServer.start(options.server);
  cleanUps.push(() => server.stop());
  const proxy = options.proxied === undefined ? undefined : await PausingProxy.before(server.port);
  cleanUps.push(() => proxy?.close());
  const trainers = await Promise.all(
    Array.from({ length: count }, async (_, rank) => {
      const url = rank === options.proxied ? `nats://127.0.0.1:${proxy!.port}` : server.url;
      const bus = wrap(
        await open(url, {
          ...(options.onError === undefined ? {} : { onError: options.onError }),
          onConnection: (connected) => {
            if (!connected) options.onLost?.(rank);
          },
        }),
        rank,
      );
      const names = Array.from({ length: count }, (_each, index) => `trainer-${index}`);
      const deps = { bus, clock: systemClock, milestone: () => undefined, resendMs: 100, deadlineMs };
      const exchange = new Exchange(deps, channel(count, rank), names, GRAINS, length, 0);
      cleanUps.push(() => exchange.close());
      const reduce = (step: number, of = length): Promise<Float32Array> => {
        const sums = exchange.ownNodes.map((node) => ({
          ...node,
          values: treeSum(leaves(step, of).slice(node.first, node.first + node.grains)),
        }));
        return exchange.reduce(step, sums, WEIGHTS, new AbortController().signal);
      };
      return { bus, exchange, reduce };
    }),
  );
  const step = async (index: number, of = length): Promise<void> => {
    for (const sum of await Promise.all(trainers.map(({ reduce }) => reduce(index, of)))) expectSum(sum, index, of);
  };
  return { server, proxy, trainers, step };
}

async function open(url: string, options: Partial<NatsOptions>): Promise<GradientBus> {
  const bus = await natsGradientBus({ servers: [url], name: "test", onError: (error) => expect.unreachable(String(error)), ...options });
  cleanUps.push(() => bus.close());
  return bus;
}

function channel(trainers: number, self: number): Channel {
  return { job: "job", generation: 4, trainers, self, key: KEY };
}

/** `[grains, length]` of numbers whose float32 sums depend on the order of additions. */
function leaves(step: number, length: number): Float32Array[] {
  const stream = new RandomStream(randomKey(step, "leaves"));
  const numbers = Float32Array.from({ length: 1_000 }, () => stream.normal() * [1e-4, 1, 1e4][stream.below(3)]!);
  return Array.from({ length: GRAINS }, (_, grain) => Float32Array.from({ length }, (_each, i) => numbers[(i * 7 + grain * 131) % 1_000]!));
}

function treeSum(rows: readonly Float32Array[]): Float32Array {
  const matrix = new Float32Array(rows.length * rows[0]!.length);
  rows.forEach((row, index) => matrix.set(row, index * row.length));
  return addRowsAlongTree(matrix, rows.length).slice();
}

function expectSum(sum: Float32Array, step: number, length = LENGTH): void {
  const expected = treeSum(leaves(step, length));
  expect(
    Buffer.compare(Buffer.from(sum.buffer, sum.byteOffset, sum.byteLength), Buffer.from(expected.buffer)),
    `sums of step ${step}`,
  ).toBe(0);
}
