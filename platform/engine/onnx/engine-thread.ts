import { once } from "node:events";
import { parentPort, Worker } from "node:worker_threads";
import { CodedError, type ErrorCode } from "../../../domain/errors.js";

/** Files of threads. In a run from sources, as tests are, the built form is taken: a thread runs JavaScript only. */
const folder = new URL(import.meta.url.endsWith(".ts") ? "../../../dist/platform/engine/onnx/" : "./", import.meta.url);

/** What a thread answers to an order, and the buffers that go over with it. */
export interface Served {
  readonly answer: unknown;
  readonly transfer?: readonly ArrayBuffer[];
}

/** What a thread has opened, as it tells, and how it obeys. */
export interface ThreadServer<Order> {
  readonly opened: unknown;
  readonly obey: (order: Order) => Promise<Served>;
  readonly release: () => Promise<void>;
}

type Message = { readonly answer: unknown } | { readonly failure: Failure };

/** An error, as it crosses threads. */
export interface Failure {
  readonly message: string;
  /** Of a CodedError. */
  readonly coded: { readonly code: ErrorCode; readonly details: Readonly<Record<string, unknown>> } | undefined;
}

/** A thread of an engine, so that the caller's event loop goes on while it computes. It takes one order after another; without one in flight it keeps no process alive. */
export class EngineThread {
  readonly #worker: Worker;
  readonly #ended: Promise<unknown>;
  #end: Error | undefined;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.once("error", (error) => (this.#end = new Error("a thread of the engine failed", { cause: error })));
    worker.once("exit", (code) => (this.#end ??= new Error(`a thread of the engine ended with code ${String(code)}`)));
    this.#ended = once(worker, "exit").catch(() => undefined);
  }

  /** Starts the file `FILE.js` and waits for its first answer, what it has opened; what it fails with then is thrown once it has ended. */
  static async start(file: string, workerData: unknown): Promise<{ readonly thread: EngineThread; readonly opened: unknown }> {
    const thread = new EngineThread(new Worker(new URL(`${file}.js`, folder), { workerData }));
    try {
      const opened = await thread.#answer();
      thread.#worker.unref();
      return { thread, opened };
    } catch (error) {
      await thread.#ended;
      throw error;
    }
  }

  /** `order` is made when it is its turn, with the buffers that go over with it. @throws what the thread threw */
  request<Answer>(order: () => { readonly order: unknown; readonly transfer?: readonly ArrayBuffer[] }): Promise<Answer> {
    const answer = this.#last.then(async () => {
      const { order: made, transfer = [] } = order();
      this.#worker.ref();
      this.#worker.postMessage(made, [...transfer]);
      try {
        return (await this.#answer()) as Answer;
      } finally {
        this.#worker.unref();
      }
    });
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  /** Ends the thread after what it was told so far. */
  async release(): Promise<void> {
    await this.#last;
    this.#worker.ref();
    this.#worker.postMessage(undefined);
    await this.#ended;
  }

  #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#end);
        return;
      }
      const ended = (): void => {
        this.#worker.off("message", answered);
        reject(this.#end ?? new Error("a thread of the engine ended"));
      };
      const answered = (message: Message): void => {
        this.#worker.off("exit", ended);
        if ("failure" in message) reject(errorOf(message.failure));
        else resolve(message.answer);
      };
      this.#worker.once("message", answered);
      this.#worker.once("exit", ended);
    });
  }
}

/** The other end, in the thread: opens, then serves orders until it is released. */
export async function serve(open: () => Promise<ThreadServer<never>>): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error("this file is run as a thread");
  const say = (message: Message, transfer: readonly ArrayBuffer[] = []): void => port.postMessage(message, [...transfer]);
  try {
    const { opened, obey, release } = await open();
    const serveOrder = async (order: unknown): Promise<void> => {
      if (order === undefined) {
        await release();
        port.close();
        return;
      }
      try {
        const { answer, transfer } = await obey(order as never);
        say({ answer }, transfer);
      } catch (error) {
        say({ failure: failureOf(error) });
      }
    };
    port.on("message", (order: unknown) => void serveOrder(order));
    say({ answer: opened });
  } catch (error) {
    say({ failure: failureOf(error) });
    port.close();
  }
}

/** What became of a run whose buffers go back whether it failed or not. */
export async function outcomeOf(run: () => Promise<void>): Promise<Failure | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

export function throwFailure(failure: Failure | undefined): void {
  if (failure !== undefined) throw errorOf(failure);
}

function failureOf(error: unknown): Failure {
  if (error instanceof CodedError) return { message: error.message, coded: { code: error.code, details: error.details } };
  return { message: error instanceof Error ? error.message : String(error), coded: undefined };
}

function errorOf({ message, coded }: Failure): Error {
  return coded === undefined ? new Error(message) : new CodedError(coded.code, message, coded.details);
}
