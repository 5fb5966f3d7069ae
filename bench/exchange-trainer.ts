import assert from "node:assert";
import { connect } from "@nats-io/transport-node";
import { limits } from "../domain/limits.js";
import { systemClock } from "../platform/clock/system.js";
import { natsGradientBus } from "../platform/gradient-bus/nats.js";
import { Exchange } from "../services/trainer/exchange.js";
import type { ExchangeRun, ExchangeWork } from "./exchange.js";

/** One trainer of `bench/exchange.ts`, in a process of its own. */
const GRAINS = 8;
const { url, rank, trainers, gradientBytes } = JSON.parse(process.argv[2] ?? "") as ExchangeWork;

const exchangeSteps = await prepareExchange();
const plainSteps = await preparePlain();
process.on("message", ({ kind, steps }: ExchangeRun) => {
  (kind === "exchange" ? exchangeSteps(steps) : plainSteps(steps)).then(
    () => process.send?.("done"),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.on("disconnect", () => process.exit());
process.send?.("ready");

async function prepareExchange(): Promise<(steps: number) => Promise<void>> {
  const length = gradientBytes / 4;
  const bus = await natsGradientBus({ servers: [url], name: `trainer ${rank}`, onError: (error) => console.error(error) });
  const exchange = new Exchange(
    { bus, clock: systemClock, milestone: () => undefined },
    { job: "bench", generation: 0, trainers, self: rank, key: new Uint8Array(32) },
    Array.from({ length: trainers }, (_, index) => String(index)),
    GRAINS,
    length,
    0,
  );
  const sums = exchange.ownNodes.map((node) => ({ ...node, values: new Float32Array(length).fill(node.grains) }));
  const { signal } = new AbortController();
  let step = 0;
  return async (steps) => {
    for (const end = step + steps; step < end; step++) {
      const sum = await exchange.reduce(step, sums, "0".repeat(32), signal);
      assert(sum[0] === GRAINS && sum.at(-1) === GRAINS, "the sum of all grains");
    }
  };
}

/**
 * The same bytes in the same two rounds, from one vector into others: a share to each of the others, who put it into place; when theirs are there, the own share to all. Nothing is checked, tagged or added.
 */
async function preparePlain(): Promise<(steps: number) => Promise<void>> {
  const connection = await connect({ servers: url, noEcho: true });
  const length = Math.floor(gradientBytes / trainers);
  const peers = trainers - 1;
  const own = new Uint8Array(trainers * length).fill(1);
  const fromOthers = Array.from({ length: 2 }, () => new Uint8Array(trainers * length));
  const arrived = [0, 0];
  let wake: () => void = () => undefined;
  for (const [round, subject] of [`plain.${rank}`, "plain.all"].entries()) {
    connection.subscribe(subject, {
      callback: (_, { data }) => {
        const before = arrived[round]!;
        fromOthers[round]!.set(data, Math.min(before % (peers * length), trainers * length - data.length));
        if ((arrived[round] = before + data.length) >= step * peers * length) wake();
      },
    });
  }
  await connection.flush();
  let step = 0;
  const send = (subject: string, share: number): void => {
    for (let from = share * length; from < (share + 1) * length; from += limits.exchangeMessageBytes)
      connection.publish(subject, own.subarray(from, Math.min(from + limits.exchangeMessageBytes, (share + 1) * length)));
  };
  return async (steps) => {
    for (const end = step + steps; step < end;) {
      step += 1;
      for (let peer = 0; peer < trainers; peer++) if (peer !== rank) send(`plain.${peer}`, peer);
      while (arrived[0]! < step * peers * length) await new Promise<void>((resolve) => (wake = resolve));
      send("plain.all", rank);
      while (arrived[1]! < step * peers * length) await new Promise<void>((resolve) => (wake = resolve));
    }
  };
}
