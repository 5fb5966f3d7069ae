import { parentPort, workerData } from "node:worker_threads";
import { CodedError } from "../../../domain/errors.js";
import { openHere } from "./graph-session.js";
import { PackedTensors } from "./packed-tensors.js";
import { loadRuntime } from "./runtime.js";
import type { Answer, Failure, Order, SessionOrder } from "./thread-session.js";

/** The thread of one session (thread-session.ts): it opens the session, runs it as often as it is told to, and ends when the session is released. */
const { model, threads } = workerData as SessionOrder;
const port = parentPort;
if (port === null) throw new Error("session-thread.js is run as a thread");

const answer = (message: Answer, transfer: readonly ArrayBuffer[] = []): void => port.postMessage(message, [...transfer]);

try {
  const runtime = await loadRuntime();
  const session = await openHere(runtime, model, threads);
  const inputs = new PackedTensors(session.inputs);
  const outputs = new PackedTensors(session.outputs);
  port.on("message", (order: Order) => void obey(order));
  answer({ kind: "opened", inputs: session.inputs, outputs: session.outputs });

  async function obey(order: Order): Promise<void> {
    if (order.kind === "release") {
      await session.release();
      port?.close();
      return;
    }
    const { feeds, fetches } = order;
    let failure: Failure | undefined;
    try {
      await session.run(inputs.wrap(runtime, feeds), outputs.wrap(runtime, fetches));
    } catch (error) {
      failure = failureOf(error);
    }
    answer({ kind: "ran", feeds, fetches, failure }, [feeds, fetches]);
  }
} catch (error) {
  answer({ kind: "failed", failure: failureOf(error) });
  port.close();
}

function failureOf(error: unknown): Failure {
  if (error instanceof CodedError) return { message: error.message, coded: { code: error.code, details: error.details } };
  return { message: error instanceof Error ? error.message : String(error), coded: undefined };
}
