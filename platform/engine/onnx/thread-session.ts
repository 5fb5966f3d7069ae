import { strict as assert } from "node:assert";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { CodedError, type ErrorCode } from "../../../domain/errors.js";
import type { Feeds, GraphSession, TensorInfo } from "./graph-session.js";
import { PackedTensors } from "./packed-tensors.js";

/** What the thread is started with. */
export interface SessionOrder {
  readonly model: Uint8Array;
  readonly threads: number;
}

/** `feeds` and `fetches` hold the tensors of the graph (packed-tensors.ts); they cross over and come back with the answer. */
export type Order = { readonly kind: "run"; readonly feeds: ArrayBuffer; readonly fetches: ArrayBuffer } | { readonly kind: "release" };

export interface Failure {
  readonly message: string;
  /** Of a CodedError. */
  readonly coded: { readonly code: ErrorCode; readonly details: Readonly<Record<string, unknown>> } | undefined;
}

export type Answer =
  | { readonly kind: "opened"; readonly inputs: readonly TensorInfo[]; readonly outputs: readonly TensorInfo[] }
  | { readonly kind: "failed"; readonly failure: Failure }
  | { readonly kind: "ran"; readonly feeds: ArrayBuffer; readonly fetches: ArrayBuffer; readonly failure: Failure | undefined };

/** In a run from sources, as tests are, the built form of the thread's file is taken: a thread runs JavaScript only. */
const threadFile = new URL(
  import.meta.url.endsWith(".ts") ? "../../../dist/platform/engine/onnx/session-thread.js" : "./session-thread.js",
  import.meta.url,
);

/**
 * A session in a thread of its own, so that the caller's event loop goes on while it runs. The binding takes no shared memory, so every value is copied once on its way there or back, 0.1 to 0.2 ms a megabyte.
 * A thread without a run in flight keeps no process alive.
 */
export async function openInThread(model: Uint8Array, threads: number): Promise<GraphSession> {
  const worker = new Worker(threadFile, { workerData: { model, threads } satisfies SessionOrder });
  const ended = once(worker, "exit").catch(() => undefined);
  const answers = new Answers(worker);
  const opened = await answers.next();
  if (opened.kind === "failed") {
    await ended;
    throw errorOf(opened.failure);
  }
  assert(opened.kind === "opened");
  const inputs = new PackedTensors(opened.inputs);
  const outputs = new PackedTensors(opened.outputs);
  let buffers = { feeds: new ArrayBuffer(inputs.bytes), fetches: new ArrayBuffer(outputs.bytes) };
  worker.unref();

  const runOnce = async (feeds: Feeds, fetches: Feeds): Promise<void> => {
    inputs.pack(buffers.feeds, feeds);
    worker.ref();
    worker.postMessage({ kind: "run", ...buffers } satisfies Order, [buffers.feeds, buffers.fetches]);
    const answer = await answers.next();
    worker.unref();
    assert(answer.kind === "ran");
    buffers = { feeds: answer.feeds, fetches: answer.fetches };
    if (answer.failure !== undefined) throw errorOf(answer.failure);
    outputs.unpack(buffers.fetches, fetches);
  };
  /** There is one pair of buffers: runs wait for each other. */
  let last: Promise<unknown> = Promise.resolve();
  return {
    inputs: opened.inputs,
    outputs: opened.outputs,
    run(feeds, fetches) {
      const run = last.then(() => runOnce(feeds, fetches));
      last = run.catch(() => undefined);
      return run;
    },
    async release() {
      await last;
      worker.ref();
      worker.postMessage({ kind: "release" } satisfies Order);
      await ended;
    },
  };
}

/** What a thread says, one answer after another; once it has ended there are none any more. */
class Answers {
  readonly #worker: Worker;
  #end: Error | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.once("error", (error) => (this.#end = new Error("the thread of a session failed", { cause: error })));
    worker.once("exit", (code) => (this.#end ??= new Error(`the thread of a session ended with code ${String(code)}`)));
  }

  next(): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#end);
        return;
      }
      const ended = (): void => {
        this.#worker.off("message", answered);
        reject(this.#end ?? new Error("the thread of a session ended"));
      };
      const answered = (answer: Answer): void => {
        this.#worker.off("exit", ended);
        resolve(answer);
      };
      this.#worker.once("message", answered);
      this.#worker.once("exit", ended);
    });
  }
}

function errorOf({ message, coded }: Failure): Error {
  return coded === undefined ? new Error(message) : new CodedError(coded.code, message, coded.details);
}
