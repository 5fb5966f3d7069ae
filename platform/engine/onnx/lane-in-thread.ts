import { EngineThread, throwFailure } from "./engine-thread.js";
import type { CallInput, CallOutput } from "./gradient-call.js";
import { GradientLane, type LaneShape, maskName } from "./gradient-lane.js";
import type { LaneAnswer, LaneBuffers, LaneOrder, LaneRequest } from "./lane-thread.js";
import type { GradientGraph } from "./lowering/lowered-graph.js";
import { type ArrayInfo, PackedArrays } from "./packed-arrays.js";
import type { GraphSource, Sessions } from "./sessions.js";

/** A lane in a thread of its own (lane-thread.ts), beside others; the caller's event loop goes on. */
export class LaneInThread extends GradientLane {
  readonly #thread: EngineThread;
  readonly #sessions: Sessions;
  readonly #graphOf: (rows: number) => GraphSource<GradientGraph>;
  readonly #input: PackedArrays;
  readonly #output: PackedArrays;
  /** They cross over with a run and come back with its end. The binding takes no shared memory: every value is copied once on its way there, 0.1 to 0.2 ms a megabyte. */
  #buffers: LaneBuffers;

  private constructor(
    thread: EngineThread,
    sessions: Sessions,
    { inputs, outputs }: LaneOrder,
    graphOf: (rows: number) => GraphSource<GradientGraph>,
  ) {
    super();
    this.#thread = thread;
    this.#sessions = sessions;
    this.#graphOf = graphOf;
    this.#input = new PackedArrays(inputs);
    this.#output = new PackedArrays(outputs);
    this.#buffers = { input: new ArrayBuffer(this.#input.bytes), output: new ArrayBuffer(this.#output.bytes) };
  }

  /** `statisticsLength` and `features`: of what enters besides the shape. */
  static async start(
    sessions: Sessions,
    shape: LaneShape,
    entering: { readonly statisticsLength: number; readonly features: "uint8" | "float32" },
    threads: number,
    graphOf: (rows: number) => GraphSource<GradientGraph>,
  ): Promise<LaneInThread> {
    const order = { shape, threads, ...arraysOf(shape, entering) };
    const { thread } = await EngineThread.start("lane-thread", order);
    return new LaneInThread(thread, sessions, order, graphOf);
  }

  protected async open(rows: number): Promise<void> {
    const graph = this.#sessions.graph(this.#graphOf(rows));
    await this.#thread.request(() => ({ order: { kind: "open", rows, graph } satisfies LaneRequest }));
  }

  protected async close(rows: number): Promise<void> {
    await this.#thread.request(() => ({ order: { kind: "close", rows } satisfies LaneRequest }));
  }

  async run({ dropoutMasks, ...input }: CallInput): Promise<CallOutput> {
    const masks = dropoutMasks.map((mask, i) => [maskName(i), mask] as const);
    const { failure, ...buffers } = await this.#thread.request<LaneAnswer>(() => {
      this.#input.pack(this.#buffers.input, { ...input, ...Object.fromEntries(masks) });
      return { order: { kind: "run", ...this.#buffers } satisfies LaneRequest, transfer: [this.#buffers.input, this.#buffers.output] };
    });
    this.#buffers = buffers;
    throwFailure(failure);
    return this.#output.views(buffers.output) as unknown as CallOutput;
  }

  release(): Promise<void> {
    return this.#thread.release();
  }
}

function arraysOf(
  { grainRows, grains, parametersLength, momentsLength, rowLength, columns, dropouts }: LaneShape,
  { statisticsLength, features }: { readonly statisticsLength: number; readonly features: "uint8" | "float32" },
): { readonly inputs: readonly ArrayInfo[]; readonly outputs: readonly ArrayInfo[] } {
  const rows = grains * grainRows;
  const floats = (name: string, length: number): ArrayInfo => ({ name, type: "float32", length });
  return {
    inputs: [
      floats("parameters", parametersLength),
      floats("statistics", statisticsLength),
      { name: "features", type: features, length: rows * rowLength },
      floats("targets", rows * columns),
      floats("rowWeights", rows),
      ...dropouts.map((length, i) => floats(maskName(i), rows * length)),
    ],
    outputs: [
      floats("gradient", parametersLength),
      floats("moments", momentsLength),
      floats("rowLoss", rows),
      { name: "predicted", type: "int32", length: rows },
    ],
  };
}
