import { workerData } from "node:worker_threads";
import { type Failure, outcomeOf, serve, type ThreadServer } from "./engine-thread.js";
import type { CallInput, CallOutput } from "./gradient-call.js";
import { LaneCalls, type LaneShape, maskName, threadsOfPart } from "./gradient-lane.js";
import { openHere } from "./graph-session.js";
import type { GradientGraph } from "./lowering/lowered-graph.js";
import { type ArrayInfo, PackedArrays } from "./packed-arrays.js";
import { Preparation } from "./preparation.js";
import { loadRuntime } from "./runtime.js";

/** What the thread is started with. */
export interface LaneOrder {
  readonly shape: LaneShape;
  readonly threads: number;
  readonly inputs: readonly ArrayInfo[];
  readonly outputs: readonly ArrayInfo[];
}

/** Input and output of a run (packed-arrays.ts). */
export interface LaneBuffers {
  readonly input: ArrayBuffer;
  readonly output: ArrayBuffer;
}

export type LaneRequest =
  | { readonly kind: "open"; readonly rows: number; readonly graph: GradientGraph }
  | { readonly kind: "close"; readonly rows: number }
  | ({ readonly kind: "run" } & LaneBuffers);

export interface LaneAnswer extends LaneBuffers {
  readonly failure: Failure | undefined;
}

/** The thread of one lane (lane-in-thread.ts): it adds up its grains itself, so that parameters go over once a step, and the gradient back. */
await serve(async (): Promise<ThreadServer<LaneRequest>> => {
  const { shape, threads, inputs, outputs } = workerData as LaneOrder;
  const runtime = await loadRuntime();
  const calls = new LaneCalls(runtime, shape);
  const [packedInput, packedOutput] = [new PackedArrays(inputs), new PackedArrays(outputs)];
  return {
    opened: undefined,
    async obey(order) {
      if (order.kind === "open") {
        const { graph, rows } = order;
        const ownThreads = threadsOfPart(rows, threads);
        const session = await openHere(runtime, graph.model, ownThreads);
        const preparation = graph.preparation && (await Preparation.open(runtime, graph.preparation, ownThreads));
        const release = async (): Promise<void> => {
          await session.release();
          await preparation?.release();
        };
        calls.add(rows, { session, ...(preparation && { preparation }), graph, release });
        return { answer: undefined };
      }
      if (order.kind === "close") {
        await calls.remove(order.rows);
        return { answer: undefined };
      }
      const { input, output } = order;
      const given = packedInput.views(input);
      const dropoutMasks = shape.dropouts.map((_, i) => given[maskName(i)]);
      const failure = await outcomeOf(() =>
        calls.run({ ...given, dropoutMasks } as unknown as CallInput, packedOutput.views(output) as unknown as CallOutput),
      );
      return { answer: { input, output, failure } satisfies LaneAnswer, transfer: [input, output] };
    },
    release: () => calls.release(),
  };
});
