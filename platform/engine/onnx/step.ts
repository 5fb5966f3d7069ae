import { strict as assert } from "node:assert";
import type { Tensor } from "onnxruntime-node";
import type { TensorUpdate } from "../../../domain/training/optimizer.js";
import type { Step, Trainable } from "../engine.js";
import { compileGradient, type Lowered } from "./gradient.js";
import type { HeldFactors } from "./gradient-call.js";
import { arrayInput, constantInput, lowerUpdate, type UpdateGraph, updatedOutput } from "./lowering/update-graph.js";
import { threadsFor } from "./lowering/products.js";
import type { OpenSession } from "./sessions.js";

/** Elements that one call moves, about 5 ms: between two calls the event loop runs. */
const callElements = 4 * 1024 * 1024;
/** Up to so many rows a kernel's gradient has the same bits on any number of threads. */
const rowsOnAnyThreads = 128;

/** Gradient and update of large kernels, block by block, so that the gradient never stands in memory; see `Engine.compileStep`. */
export async function compileStep(
  lowered: Lowered,
  trainable: Trainable,
  grainRows: number,
  updates: readonly TensorUpdate[],
): Promise<Step> {
  const names = updates.map(({ name }) => name);
  const gradient = await compileGradient(lowered, trainable, { grainRows, grains: 1 }, names);
  const kernels = new Map<string, KernelUpdate>();
  for (const update of updates) kernels.set(update.name, await KernelUpdate.open(lowered, trainable, grainRows, update));
  return {
    run: (input) => gradient.run(input),
    async update(tensor, constants) {
      const kernel = kernels.get(tensor);
      assert(kernel !== undefined, `${tensor} is not held back`);
      await kernel.run(gradient.factorsOf(tensor), constants);
    },
    async release() {
      await gradient.release();
      for (const kernel of kernels.values()) await kernel.release();
    },
  };
}

/** Rows of the kernel that one call moves, with all that it reads and writes but x. */
interface Call {
  readonly opened: OpenSession<UpdateGraph>;
  readonly feeds: Record<string, Tensor>;
  readonly fetches: Readonly<Record<string, Tensor>>;
}

/** The calls that move one kernel, `[in, units]`. */
class KernelUpdate {
  readonly #lowered: Lowered;
  readonly #rows: number;
  readonly #calls: readonly Call[];
  /** One number each, written anew for each step. */
  readonly #constants: readonly Float32Array[];
  #x: Float32Array | undefined;
  #dy: Float32Array | undefined;

  private constructor(lowered: Lowered, rows: number, calls: readonly Call[], constants: readonly Float32Array[]) {
    this.#lowered = lowered;
    this.#rows = rows;
    this.#calls = calls;
    this.#constants = constants;
  }

  static async open(lowered: Lowered, trainable: Trainable, rows: number, { name, program, vectors }: TensorUpdate): Promise<KernelUpdate> {
    const { runtime, sessions } = lowered;
    const layer = trainable.network.layers.find((each) => name === `${each.name}/kernel`);
    assert(layer?.kind === "dense", `${name} is no kernel of a dense layer`);
    const { units } = layer;
    const inputs = (vectors[0]?.length ?? 0) / units;
    const threads = rows <= rowsOnAnyThreads ? lowered.threads : Math.min(lowered.threads, threadsFor(units));
    const constants = Array.from({ length: program.constants }, () => new Float32Array(1));
    const shared = Object.fromEntries(constants.map((data, i) => [constantInput(i), new runtime.Tensor("float32", data, [])]));
    const calls: Call[] = [];
    const rowsOfCall = Math.max(1, Math.floor(callElements / units));
    for (let from = 0; from < inputs; from += rowsOfCall) {
      const kernelRows = Math.min(rowsOfCall, inputs - from);
      const shape = { rows, inputs, units, kernelRows };
      const opened = await sessions.open(["update", program, shape], { threads, inOwnThread: false }, () => lowerUpdate(program, shape));
      const index = (value: number): Tensor => new runtime.Tensor("int64", BigInt64Array.of(BigInt(value)), [1]);
      const feeds: Record<string, Tensor> = { ...shared, from: index(from), to: index(from + kernelRows) };
      const fetches: Record<string, Tensor> = {};
      let first = from;
      opened.graph.blocks.forEach((length, block) => {
        vectors.forEach((vector, array) => {
          if (array === 1) return;
          const data = vector.subarray(first * units, (first + length) * units);
          const tensor = new runtime.Tensor("float32", data, [length, units]);
          feeds[arrayInput(array, block)] = tensor;
          if (opened.graph.written.includes(array)) fetches[updatedOutput(array, block)] = tensor;
        });
        first += length;
      });
      calls.push({ opened, feeds, fetches });
    }
    return new KernelUpdate(lowered, rows, calls, constants);
  }

  async run({ x, dy }: HeldFactors, constants: readonly number[]): Promise<void> {
    this.#constants.forEach((data, i) => (data[0] = constants[i] ?? NaN));
    if (x !== this.#x || dy !== this.#dy) this.#feed(x, dy);
    for (const { opened, feeds, fetches } of this.#calls) await opened.session.run(feeds, fetches);
  }

  async release(): Promise<void> {
    for (const { opened } of this.#calls) await opened.release();
  }

  #feed(x: Float32Array, dy: Float32Array): void {
    const { Tensor: OnnxTensor } = this.#lowered.runtime;
    const [left, right] = [x, dy].map((data) => new OnnxTensor("float32", data, [this.#rows, data.length / this.#rows]));
    assert(left && right);
    for (const { feeds } of this.#calls) {
      feeds["x"] = left;
      feeds["dy"] = right;
    }
    [this.#x, this.#dy] = [x, dy];
  }
}
