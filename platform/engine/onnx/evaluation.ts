import { strict as assert } from "node:assert";
import { limits } from "../../../domain/limits.js";
import { forwardProgram } from "../../../domain/network/gradient/forward-program.js";
import { elementCount, type Layer, type Tensor as Activation } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { isLongCall } from "../../../domain/training/long-calls.js";
import { parameterLayout, statisticsLayout } from "../../../domain/training/parameters.js";
import type { Tensor } from "onnxruntime-node";
import { checkFeatures } from "../check-features.js";
import type { Evaluation, EvaluationInput, Trainable } from "../engine.js";
import { sumRowLosses, Targets } from "../row-sums.js";
import { targetColumns } from "../target-columns.js";
import { type Lowered, threadsOf } from "./gradient.js";
import { freshTensors } from "./graph-session.js";
import { type EvaluationGraph, lowerEvaluation } from "./lowering/lowered-graph.js";
import type { OpenSession } from "./sessions.js";

/** The kinds of layers whose output is shown in histograms: those with weights and activations. */
const shownKinds: ReadonlySet<Layer["kind"]> = new Set([
  ...(["conv2d", "depthwiseConv2d", "batchNorm", "dense"] as const),
  ...(["relu", "relu6", "sigmoid", "softmax"] as const),
]);

/** A graph that is run in passes of so many rows. */
interface OpenPasses extends OpenSession<EvaluationGraph> {
  readonly passRows: number;
}

/** Logits, loss and correct count with parameters and statistics as inputs; see `Engine.compileEvaluation`. */
export async function compileEvaluation(
  { runtime, sessions, lowering, threads: allThreads }: Lowered,
  trainable: Trainable,
  rows: number,
): Promise<Evaluation> {
  const { network, loss, preprocessing } = trainable;
  assert(Number.isInteger(rows) && rows >= 2, `an evaluation has at least 2 rows a call, found ${rows}`);
  const columns = targetColumns(network, loss);
  const program = forwardProgram(network);
  const { threads, productColumns } = threadsOf(program, network, allThreads);
  const shapes = layerShapes(network);
  const layouts = [parameterLayout(network), statisticsLayout(network)] as const;
  const rowLength = elementCount(network.inputShape);
  /** Many rows are run in passes, of the same rows each: the last one is filled up with zeros. Activations that are handed out are held all at once, others one after another. */
  const passRowsOf = (layers: readonly string[]): number => {
    const handedOut = layers.reduce((sum, layer) => sum + elementCount(shapes.get(layer) ?? []), 0);
    const held = Math.max(handedOut, ...[...shapes.values()].map(elementCount));
    return Math.min(rows, Math.max(2, Math.floor(limits.activationBytesOfCall / (4 * held))));
  };
  const shown = network.layers.filter(({ kind }) => shownKinds.has(kind)).map(({ name }) => name);
  const targets = new Targets(rows, columns, loss);
  const classes = elementCount(shapes.get(network.output) ?? []);

  const open = async (layers: readonly string[]): Promise<OpenPasses> => {
    const passRows = passRowsOf(layers);
    const madeFrom = ["evaluation", lowering.name, network, loss, preprocessing, passRows, layers, productColumns];
    const options = { grains: 1, grainRows: passRows, loss, preprocessing, productColumns };
    const placement = { threads, inOwnThread: isLongCall(network, passRows, "evaluation") };
    const source = { madeFrom, lower: () => lowerEvaluation(program, lowering, options, layers) };
    return { ...(await sessions.open(source, placement)), passRows };
  };
  const logitsSession = await open([]);
  let activationsSession: Promise<OpenPasses> | undefined;

  /** Runs pass after pass; `see` takes each pass's outputs and how many of its rows count. */
  async function runPasses(
    { session, passRows }: OpenPasses,
    input: EvaluationInput,
    outputs: readonly string[],
    see: (output: string, data: Float32Array | Int32Array, first: number, count: number) => void,
  ): Promise<void> {
    checkInput(input);
    targets.write(input.labels, input.rowWeights);
    const known = new Set(session.inputs.map(({ name }) => name));
    const tensors: Record<string, Tensor> = {};
    layouts.forEach(({ entries }, i) => {
      const vector = i === 0 ? input.parameters : input.statistics;
      for (const { name, shape, offset, length } of entries)
        if (known.has(name)) tensors[name] = new runtime.Tensor("float32", vector.subarray(offset, offset + length), shape);
    });
    for (let first = 0; first < rows; first += passRows) {
      const count = Math.min(passRows, rows - first);
      const features = passOf(input.features, first, count, rowLength, passRows);
      const dims = [passRows, ...network.inputShape];
      const feeds: Record<string, Tensor> = {
        ...tensors,
        targets: new runtime.Tensor("float32", passOf(targets.data, first, count, columns, passRows), [passRows, columns]),
      };
      if (known.has("features"))
        feeds["features"] =
          features instanceof Uint8Array ? new runtime.Tensor("uint8", features, dims) : new runtime.Tensor("float32", features, dims);
      const fetches = freshTensors(runtime, session.outputs);
      await session.run(feeds, fetches);
      for (const output of outputs) {
        const data = fetches[output]?.data;
        assert(data instanceof Float32Array || data instanceof Int32Array);
        see(output, data, first, count);
      }
    }
  }

  function passOf<Data extends Float32Array | Uint8Array>(
    whole: Data,
    first: number,
    count: number,
    length: number,
    passRows: number,
  ): Data {
    const part = whole.subarray(first * length, (first + count) * length) as Data;
    if (count === passRows) return part;
    const filled = new (whole.constructor as new (length: number) => Data)(passRows * length);
    filled.set(part);
    return filled;
  }

  function checkInput({ parameters, statistics, features }: EvaluationInput): void {
    const expect = (slot: string, found: number, length: number): void =>
      assert.equal(found, length, `evaluation of ${network.name}: ${slot} must hold ${length} values, found ${found}`);
    checkFeatures(network.name, features, rows * rowLength, preprocessing);
    expect("parameters", parameters.length, layouts[0].length);
    expect("statistics", statistics.length, layouts[1].length);
  }

  return {
    rows,
    async run(input) {
      const rowLoss = new Float32Array(rows);
      const predicted = new Int32Array(rows);
      const logits = new Float32Array(rows * classes);
      await runPasses(logitsSession, input, ["rowLoss", "predicted", "logits"], (output, data, first, count) => {
        const [whole, length] = output === "rowLoss" ? [rowLoss, 1] : output === "predicted" ? [predicted, 1] : [logits, classes];
        whole.set(data.subarray(0, count * length), first * length);
      });
      return { ...sumRowLosses(rowLoss, predicted, input, 1), logits };
    },
    async activations(input) {
      activationsSession ??= open(shown);
      const opened = await activationsSession;
      const activations = new Map(
        shown.map((layer): [string, Activation] => {
          const shape = shapes.get(layer) ?? [];
          return [layer, { shape: [rows, ...shape], data: new Float32Array(rows * elementCount(shape)) }];
        }),
      );
      const layerOf = new Map([...opened.graph.activations].map(([layer, output]) => [output, layer]));
      await runPasses(opened, input, [...layerOf.keys()], (output, data, first, count) => {
        const whole = activations.get(layerOf.get(output) ?? "");
        assert(whole !== undefined);
        const length = elementCount(whole.shape.slice(1));
        whole.data.set(data.subarray(0, count * length), first * length);
      });
      return activations;
    },
    async release() {
      await logitsSession.release();
      await (await activationsSession)?.release();
    },
  };
}
