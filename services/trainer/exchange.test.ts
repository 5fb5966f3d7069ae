import { expect, test } from "vitest";
import type { Milestone } from "../../domain/job/records.js";
import { headerBytes } from "../../domain/training/exchange/message.js";
import { limits } from "../../domain/limits.js";
import type { GradientBus } from "../../platform/gradient-bus/gradient-bus.js";
import type { Clock } from "../../platform/clock/clock.js";
import { memoryGradientBus } from "../../platform/gradient-bus/memory.js";
import { virtualClock } from "../../test/support/virtual-clock.js";
import { Exchange } from "./exchange.js";

const WEIGHTS = "0".repeat(32);

/** A clock that jumps to the end of each sleep; `frozen` never gets there. */
function setup({ frozen = false } = {}) {
  const clock = virtualClock(() => (frozen ? new Promise<never>(() => undefined) : undefined));
  const published: string[] = [];
  const bus: GradientBus = {
    payloadBytesMax: limits.exchangeMessageBytes,
    publish: (subject) => void published.push(subject),
    subscribe: () => ({ unsubscribe: () => undefined }),
    close: async () => undefined,
  };
  const reached: Milestone[] = [];
  const channel = { job: "job", generation: 0, trainers: 3, self: 0, key: new Uint8Array(32), messageBytes: headerBytes + 4 * 10 };
  const exchange = new Exchange({ bus, clock, milestone: (name) => reached.push(name) }, channel, ["a", "b", "c"], 8, 30, 5);
  const reduce = (signal: AbortSignal): Promise<Float32Array> =>
    exchange.reduce(
      5,
      exchange.ownNodes.map((node) => ({ ...node, values: new Float32Array(30) })),
      WEIGHTS,
      signal,
    );
  return { exchange, reduce, published, reached, elapsedMs: () => clock.monotonic() };
}

test("a trainer that hears nothing sends again, and after the deadline names who is missing", async () => {
  const { reduce, published, reached, elapsedMs } = setup();
  await expect(reduce(new AbortController().signal)).rejects.toMatchObject({
    code: "EXCHANGE_INCOMPLETE",
    details: { missing: ["a", "b", "c"].slice(1) },
  });
  expect(elapsedMs()).toBe(limits.exchangeDeadlineMs);
  expect(published.length).toBeGreaterThan(10);
  expect(reached).toEqual(["mid exchange"]);
});

test("a signal ends the wait at once, with its own reason", async () => {
  const { reduce } = setup({ frozen: true });
  const stop = new AbortController();
  const waiting = reduce(stop.signal);
  stop.abort(new Error("another trainer failed"));
  await expect(waiting).rejects.toThrow("another trainer failed");
});

test("who comes late to a generation gets at once what was sent before it listened", async () => {
  const clock: Clock = { now: () => 0, monotonic: () => 0, sleep: () => new Promise(() => undefined) };
  const bus = memoryGradientBus((error) => {
    throw error;
  });
  const begin = (self: number): Promise<Float32Array> => {
    const channel = { job: "job", generation: 0, trainers: 3, self, key: new Uint8Array(32) };
    const exchange = new Exchange({ bus, clock, milestone: () => undefined }, channel, ["a", "b", "c"], 8, 30, 5);
    const sums = exchange.ownNodes.map((node) => ({ ...node, values: new Float32Array(30).fill(node.grains) }));
    return exchange.reduce(5, sums, WEIGHTS, new AbortController().signal);
  };
  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
  const results = [begin(0)];
  await turn();
  results.push(begin(1));
  await turn();
  results.push(begin(2));
  expect(await Promise.all(results)).toEqual(Array.from({ length: 3 }, () => new Float32Array(30).fill(8)));
});
