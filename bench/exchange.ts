import { type ChildProcess, fork } from "node:child_process";
import { NatsServer } from "../test/support/nats-server.js";
import { type Figure, type Measure, median } from "./figure.js";

/** `warmUp`: steps that nobody measures; meanwhile code is compiled, as it is after a moment of every training. */
const GRADIENTS = [
  { bytes: 25_000, name: "25 kB", steps: 400, warmUp: 1_000 },
  { bytes: 500_000, name: "0.5 MB", steps: 40, warmUp: 100 },
  { bytes: 5_000_000, name: "5 MB", steps: 6, warmUp: 10 },
];
const TRAINERS = [2, 4, 8];
/** What the parent asks of a trainer's process; it answers `"ready"`, then `"done"` to each. */
export interface ExchangeWork {
  readonly url: string;
  readonly rank: number;
  readonly trainers: number;
  readonly gradientBytes: number;
}
export interface ExchangeRun {
  readonly kind: "exchange" | "plain";
  readonly steps: number;
}

/**
 * The all-reduce of trainers in processes of their own on a real nats-server, beside moving the same bytes in the same two rounds by bare publish and subscribe of as many clients.
 * Both take turns.
 */
export const measureExchange: Measure = async ({ rounds }, say) => {
  const figures: Figure[] = [];
  for (const gradient of GRADIENTS) {
    const { bytes, name, steps } = gradient;
    for (const trainers of TRAINERS) {
      say(`exchange: ${name} at ${trainers} trainers`);
      const { exchangeMs, plainMs, ratio, bytesRatio } = await measureOne(gradient, trainers, rounds);
      const row = "exchange";
      const on = `${name}, ${trainers} trainers`;
      const note = `${on}; ${rounds} times ${steps} steps`;
      figures.push(
        { row, name: `a step, ${on}`, value: exchangeMs, unit: "ms", note },
        { row, name: `plain moving, ${on}`, value: plainMs, unit: "ms", note },
        {
          row,
          name: `a step / plain moving, ${on}`,
          value: ratio,
          unit: "",
          wanted: { atMost: 1.5 },
          note: "median of the ratios of turns",
        },
        {
          row,
          name: `bytes out of the broker / 2P(N-1), ${on}`,
          value: bytesRatio,
          unit: "",
          wanted: { atMost: 1.1 },
          note: `out_bytes of nats-server; 2P(N-1) = ${2 * bytes * (trainers - 1)}`,
        },
      );
    }
  }
  return figures;
};

async function measureOne({ bytes: gradientBytes, steps, warmUp }: (typeof GRADIENTS)[number], trainers: number, rounds: number) {
  const server = await NatsServer.start();
  const workers: ChildProcess[] = [];
  try {
    for (let rank = 0; rank < trainers; rank++) {
      const work: ExchangeWork = { url: server.url, rank, trainers, gradientBytes };
      workers.push(fork(new URL("exchange-trainer.js", import.meta.url), [JSON.stringify(work)]));
    }
    await Promise.all(workers.map((worker) => answer(worker)));
    const run = async (order: ExchangeRun): Promise<number> => {
      const start = performance.now();
      const done = Promise.all(workers.map((worker) => answer(worker)));
      for (const worker of workers) worker.send(order);
      await done;
      return (performance.now() - start) / order.steps;
    };
    for (const kind of ["exchange", "plain"] as const) await run({ kind, steps: warmUp });
    const turns: { exchangeMs: number; plainMs: number }[] = [];
    let bytes = 0;
    for (let round = 0; round < rounds; round++) {
      const before = await server.counters();
      const exchangeMs = await run({ kind: "exchange", steps });
      bytes += (await server.counters()).outBytes - before.outBytes;
      turns.push({ exchangeMs, plainMs: await run({ kind: "plain", steps }) });
    }
    return {
      exchangeMs: median(turns.map((turn) => turn.exchangeMs)),
      plainMs: median(turns.map(({ plainMs }) => plainMs)),
      ratio: median(turns.map(({ exchangeMs, plainMs }) => exchangeMs / plainMs)),
      bytesRatio: bytes / (rounds * steps) / (2 * gradientBytes * (trainers - 1)),
    };
  } finally {
    for (const worker of workers) worker.disconnect();
    await server.stop();
  }
}

function answer(worker: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`a trainer's process ended with ${String(code)}`));
    worker.once("exit", ended);
    worker.once("message", (message) => {
      worker.off("exit", ended);
      resolve(message);
    });
  });
}
