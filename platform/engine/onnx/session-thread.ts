import { workerData } from "node:worker_threads";
import { type Failure, outcomeOf, serve, type ThreadServer } from "./engine-thread.js";
import { type Feeds, openHere, type TensorInfo } from "./graph-session.js";
import { PackedArrays } from "./packed-arrays.js";
import { loadRuntime } from "./runtime.js";
import { arraysOf } from "./thread-session.js";

/** What the thread is started with. */
export interface SessionOrder {
  readonly model: Uint8Array;
  readonly threads: number;
}

export interface OpenedSession {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

/** The tensors of the graph (packed-arrays.ts). */
export interface SessionBuffers {
  readonly feeds: ArrayBuffer;
  readonly fetches: ArrayBuffer;
}

export interface SessionAnswer extends SessionBuffers {
  readonly failure: Failure | undefined;
}

/** The thread of one session (thread-session.ts). */
await serve(async (): Promise<ThreadServer<SessionBuffers>> => {
  const { model, threads } = workerData as SessionOrder;
  const runtime = await loadRuntime();
  const session = await openHere(runtime, model, threads);
  const tensors = (infos: readonly TensorInfo[]): ((buffer: ArrayBuffer) => Feeds) => {
    const packed = new PackedArrays(arraysOf(infos));
    return (buffer) => {
      const views = packed.views(buffer);
      return Object.fromEntries(infos.map(({ name, type, dims }) => [name, new runtime.Tensor(type, views[name] as never, dims)]));
    };
  };
  const [feedsOf, fetchesOf] = [tensors(session.inputs), tensors(session.outputs)];
  return {
    opened: { inputs: session.inputs, outputs: session.outputs } satisfies OpenedSession,
    async obey({ feeds, fetches }) {
      const failure = await outcomeOf(() => session.run(feedsOf(feeds), fetchesOf(fetches)));
      return { answer: { feeds, fetches, failure } satisfies SessionAnswer, transfer: [feeds, fetches] };
    },
    release: () => session.release(),
  };
});
