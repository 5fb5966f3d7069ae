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

/** The same bytes in the same two rounds: a share to each of the others; when theirs are there, the own share to all. Nothing is checked, tagged or added. */
async function preparePlain(): Promise<(steps: number) => Promise<void>> {
  const connection = await connect({ servers: url, noEcho: true });
  const share = new Uint8Array(Math.floor(gradientBytes / trainers));
  const peers = trainers - 1;
  let scattered = 0;
  let gathered = 0;
  let wake: () => void = () => undefined;
  connection.subscribe(`plain.${rank}`, {
    callback: (_, { data }) => {
      scattered += data.length;
      if (scattered >= step * peers * share.length) wake();
    },
  });
  connection.subscribe("plain.all", {
    callback: (_, { data }) => {
      gathered += data.length;
      if (gathered >= step * peers * share.length) wake();
    },
  });
  await connection.flush();
  let step = 0;
  const send = (subject: string): void => {
    for (let from = 0; from < share.length; from += limits.exchangeMessageBytes)
      connection.publish(subject, share.subarray(from, from + limits.exchangeMessageBytes));
  };
  return async (steps) => {
    for (const end = step + steps; step < end;) {
      step += 1;
      for (let peer = 0; peer < trainers; peer++) if (peer !== rank) send(`plain.${peer}`);
      while (scattered < step * peers * share.length) await new Promise<void>((resolve) => (wake = resolve));
      send("plain.all");
      while (gathered < step * peers * share.length) await new Promise<void>((resolve) => (wake = resolve));
    }
  };
}
