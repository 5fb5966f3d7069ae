import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { Feeds } from "./graph-session.js";
import type { GradientGraph } from "./lowering/lowered-graph.js";
import { createSession, type Runtime } from "./runtime.js";
import { runWithoutCopies } from "./run-without-copies.js";

/** What of a gradient graph depends on parameters and statistics alone, kernels in the order that convolutions want: worked out once for all parts of a run. */
export class Preparation {
  readonly inputs: ReadonlySet<string>;
  readonly #session: InferenceSession;
  readonly #crossing: readonly string[];
  #made: Record<string, Tensor> | undefined;

  private constructor(session: InferenceSession, crossing: readonly string[]) {
    this.inputs = new Set(session.inputNames);
    this.#session = session;
    this.#crossing = crossing;
  }

  static async open(
    runtime: Runtime,
    { model, crossing }: NonNullable<GradientGraph["preparation"]>,
    threads: number,
  ): Promise<Preparation> {
    return new Preparation(await createSession(runtime, model, threads, { graphOptimizationLevel: "disabled" }), crossing);
  }

  /** What crosses over to the graph; valid until the next run. Only the first run learns how long it is, and is copied. */
  async run(feeds: Feeds): Promise<Feeds> {
    if (this.#made === undefined) this.#made = { ...(await this.#session.run(feeds, this.#crossing)) };
    else await runWithoutCopies(this.#session, feeds, this.#made);
    return this.#made;
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}
