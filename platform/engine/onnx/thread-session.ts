import { elementCount } from "../../../domain/network/network.js";
import { EngineThread, throwFailure } from "./engine-thread.js";
import type { Feeds, GraphSession, TensorInfo } from "./graph-session.js";
import { type ArrayInfo, PackedArrays } from "./packed-arrays.js";
import type { OpenedSession, SessionAnswer, SessionBuffers, SessionOrder } from "./session-thread.js";

/**
 * A session in a thread of its own, so that the caller's event loop goes on while it runs. The binding takes no shared memory, so every value is copied once on its way there or back, 0.1 to 0.2 ms a megabyte.
 */
export async function openInThread(model: Uint8Array, threads: number): Promise<GraphSession> {
  const { thread, opened } = await EngineThread.start("session-thread", { model, threads } satisfies SessionOrder);
  const infos = opened as OpenedSession;
  const inputs = new PackedArrays(arraysOf(infos.inputs));
  const outputs = new PackedArrays(arraysOf(infos.outputs));
  /** There is one pair of buffers, which crosses over with a run and comes back with its end. */
  let buffers: SessionBuffers = { feeds: new ArrayBuffer(inputs.bytes), fetches: new ArrayBuffer(outputs.bytes) };
  return {
    inputs: infos.inputs,
    outputs: infos.outputs,
    async run(feeds, fetches) {
      const answer = await thread.request<SessionAnswer>(() => {
        inputs.pack(buffers.feeds, dataOf(feeds));
        return { order: buffers, transfer: [buffers.feeds, buffers.fetches] };
      });
      buffers = { feeds: answer.feeds, fetches: answer.fetches };
      throwFailure(answer.failure);
      outputs.unpack(buffers.fetches, dataOf(fetches));
    },
    release: () => thread.release(),
  };
}

/** The arrays of tensors, as they are packed. */
export function arraysOf(tensors: readonly TensorInfo[]): ArrayInfo[] {
  return tensors.map(({ name, type, dims }) => ({ name, type, length: elementCount(dims) }));
}

function dataOf(tensors: Feeds): Record<string, unknown> {
  return Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, data]));
}
