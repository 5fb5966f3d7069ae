import type { CallInput, CallOutput, HeldFactors } from "./gradient-call.js";
import { GradientLane, LaneCalls, type LaneShape, threadsOfPart } from "./gradient-lane.js";
import type { GradientGraph } from "./lowering/lowered-graph.js";
import type { Runtime } from "./runtime.js";
import type { GraphSource, Sessions } from "./sessions.js";

/** A lane on the calling thread, which waits: for what is short. */
export class LaneHere extends GradientLane {
  readonly #calls: LaneCalls;
  readonly #output: Omit<CallOutput, "gradient">;
  readonly #sessions: Sessions;
  readonly #threads: number;
  readonly #graphOf: (rows: number) => GraphSource<GradientGraph>;

  constructor(
    runtime: Runtime,
    sessions: Sessions,
    shape: LaneShape,
    threads: number,
    graphOf: (rows: number) => GraphSource<GradientGraph>,
  ) {
    super();
    this.#calls = new LaneCalls(runtime, shape);
    this.#sessions = sessions;
    this.#threads = threads;
    this.#graphOf = graphOf;
    const rows = shape.grains * shape.grainRows;
    this.#output = { moments: new Float32Array(shape.momentsLength), rowLoss: new Float32Array(rows), predicted: new Int32Array(rows) };
  }

  protected async open(rows: number): Promise<void> {
    const placement = { threads: threadsOfPart(rows, this.#threads), inOwnThread: false };
    this.#calls.add(rows, await this.#sessions.open(this.#graphOf(rows), placement));
  }

  protected close(rows: number): Promise<void> {
    return this.#calls.remove(rows);
  }

  async run(input: CallInput, gradient: Float32Array): Promise<CallOutput> {
    const output = { ...this.#output, gradient };
    await this.#calls.run(input, output);
    return output;
  }

  /** What the last run of `rows` rows gave of a gradient that is held back. */
  factorsOf(tensor: string, rows: number): HeldFactors {
    return this.#calls.factorsOf(tensor, rows);
  }

  release(): Promise<void> {
    return this.#calls.release();
  }
}
