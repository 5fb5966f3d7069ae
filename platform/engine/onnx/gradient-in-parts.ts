import { strict as assert } from "node:assert";
import type { Tensor } from "onnxruntime-node";
import { parameterLayout } from "../../../domain/training/parameters.js";
import { GraphBuilder } from "../../../formats/onnx/graph-builder.js";
import type { GradientInParts, Trainable } from "../engine.js";
import { compileGradient, type Lowered } from "./gradient.js";
import type { HeldFactors } from "./gradient-call.js";
import type { Feeds } from "./graph-session.js";
import { threadsFor } from "./lowering/products.js";
import type { OpenSession } from "./sessions.js";

/** Elements of one part, 8 MiB: about 5 ms with its update, and between two parts the event loop runs. A call costs 0.1 ms whatever its size; smaller parts gained nothing. */
const partElements = 2 * 1024 * 1024;
/** Up to so many rows a kernel's gradient has the same bits on any number of threads. */
const rowsOnAnyThreads = 128;

/** Gradients of large kernels, a few of their rows at a time; see `Engine.compileGradientInParts`. */
export async function compileGradientInParts(
  lowered: Lowered,
  trainable: Trainable,
  grainRows: number,
  kernels: readonly string[],
): Promise<GradientInParts> {
  const gradient = await compileGradient(lowered, trainable, { grainRows, grains: 1 }, kernels);
  const products = new Map<string, Product>();
  for (const kernel of kernels) products.set(kernel, await Product.open(lowered, trainable, grainRows, kernel));
  return {
    run: (input) => gradient.run(input),
    async eachPart(kernel, into, use) {
      const product = products.get(kernel);
      assert(product !== undefined, `the gradient of ${kernel} does not come in parts`);
      await product.run(gradient.factorsOf(kernel), into, use);
    },
    async release() {
      await gradient.release();
      for (const product of products.values()) await product.release();
    },
  };
}

interface ProductGraph {
  readonly model: Uint8Array;
}

/** Some rows of a kernel's gradient. */
interface Part {
  readonly opened: OpenSession<ProductGraph>;
  readonly from: number;
  readonly rows: number;
  readonly bounds: Feeds;
}

/** The product x^T dy of a kernel `[in, units]`, rows after rows. */
class Product {
  readonly #lowered: Lowered;
  readonly #rows: number;
  readonly #units: number;
  readonly #parts: readonly Part[];

  private constructor(lowered: Lowered, rows: number, units: number, parts: readonly Part[]) {
    this.#lowered = lowered;
    this.#rows = rows;
    this.#units = units;
    this.#parts = parts;
  }

  static async open(lowered: Lowered, trainable: Trainable, rows: number, kernel: string): Promise<Product> {
    const entry = parameterLayout(trainable.network).entries.find(({ name }) => name === kernel);
    const [inputs, units] = entry?.shape ?? [];
    assert(inputs !== undefined && units !== undefined, `${kernel} is no kernel of a dense layer`);
    const threads = rows <= rowsOnAnyThreads ? lowered.threads : Math.min(lowered.threads, threadsFor(units));
    const rowsOfPart = Math.max(1, Math.floor(partElements / units));
    const parts: Part[] = [];
    for (let from = 0; from < inputs; from += rowsOfPart) {
      const shape = { rows, inputs, units, partRows: Math.min(rowsOfPart, inputs - from) };
      const source = { madeFrom: ["part of a product", shape], lower: () => partOfProduct(shape) };
      const opened = await lowered.sessions.open(source, { threads, inOwnThread: false });
      const index = (value: number): Tensor => new lowered.runtime.Tensor("int64", BigInt64Array.of(BigInt(value)), [1]);
      parts.push({ opened, from, rows: shape.partRows, bounds: { from: index(from), to: index(from + shape.partRows) } });
    }
    return new Product(lowered, rows, units, parts);
  }

  async run({ x, dy }: HeldFactors, into: Float32Array, use: (from: number, to: number) => void): Promise<void> {
    const { Tensor: OnnxTensor } = this.#lowered.runtime;
    const factors = {
      x: new OnnxTensor("float32", x, [this.#rows, x.length / this.#rows]),
      dy: new OnnxTensor("float32", dy, [this.#rows, this.#units]),
    };
    for (const { opened, from, rows, bounds } of this.#parts) {
      const data = into.subarray(0, rows * this.#units);
      await opened.session.run({ ...factors, ...bounds }, { gradient: new OnnxTensor("float32", data, [rows, this.#units]) });
      use(from * this.#units, from * this.#units + data.length);
    }
  }

  async release(): Promise<void> {
    for (const { opened } of this.#parts) await opened.release();
  }
}

/** Inputs x [rows, in], dy [rows, units], from [1] and to [1]; outputs sentinel (run-without-copies.ts) and the rows from `from` to before `to` of x^T dy. */
function partOfProduct({
  rows,
  inputs,
  units,
  partRows,
}: Readonly<Record<"rows" | "inputs" | "units" | "partRows", number>>): ProductGraph {
  const graph = new GraphBuilder();
  graph.sequenceOutput("sentinel", "float32");
  const x = graph.input("x", "float32", [rows, inputs]);
  const dy = graph.input("dy", "float32", [rows, units]);
  const bounds = [graph.input("from", "int64", [1]), graph.input("to", "int64", [1])];
  const columns = graph.node("Slice", [x, ...bounds, graph.integers([1])]);
  graph.output(graph.node("Gemm", [columns, dy], { transA: { int: 1 } }, "gradient"), "float32", [partRows, units]);
  graph.nodeWithOutputs("SequenceConstruct", [dy], ["sentinel"]);
  return { model: graph.encode("part of a product") };
}
