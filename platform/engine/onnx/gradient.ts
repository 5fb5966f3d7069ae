import { strict as assert } from "node:assert";
import type { GradientProgram } from "../../../domain/network/gradient/program.js";
import { differentiate } from "../../../domain/network/gradient/differentiate.js";
import { elementCount, type Network } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { grainsOfCall } from "../../../domain/training/call-grains.js";
import { largeKernels } from "../../../domain/training/large-kernels.js";
import { isLongCall } from "../../../domain/training/long-calls.js";
import { parameterLayout, statisticsLayout } from "../../../domain/training/parameters.js";
import { isPowerOfTwo } from "../../../domain/training/tree.js";
import { checkFeatures } from "../check-features.js";
import { chosenRows, countedRows } from "../chosen-rows.js";
import type { Gradient, GradientInput, GradientShape, Trainable } from "../engine.js";
import { GrainSums } from "../grain-sums.js";
import { refuseUntrainable } from "../refuse-untrainable.js";
import { sumRowLosses, Targets } from "../row-sums.js";
import { targetColumns } from "../target-columns.js";
import { type CallInput, GradientCall, type HeldFactors } from "./gradient-call.js";
import { lowerGradient } from "./lowering/lowered-graph.js";
import type { Lowering } from "./lowering/lowering.js";
import { columnsFor, threadsFor } from "./lowering/products.js";
import type { Runtime } from "./runtime.js";
import type { Sessions } from "./sessions.js";

/** Threads of a graph, and what of it makes their number invisible. */
export interface Threads {
  readonly threads: number;
  readonly productColumns: number;
}

/**
 * Small dense layers alone run on one thread, whatever the machine: two gain nothing at the batches that heads are trained with, and a matrix product shared by threads adds in another order. Networks
 * with convolutions or large kernels run on all threads: for those the lowerings see to it that no bit depends on how many there are. A large kernel is not padded: there are fewer threads then.
 */
export function threadsOf({ operations }: GradientProgram, network: Network, threads: number): Threads {
  const large = largeKernels(network);
  const hasWindows = operations.some(({ primitive }) => "window" in primitive);
  if (!hasWindows && large.length === 0) return { threads: 1, productColumns: columnsFor("one, always") };
  const most = Math.min(threads, ...large.map(({ shape: [, units = 0] }) => threadsFor(units)));
  return { threads: most, productColumns: columnsFor(most) };
}

/** Calls for so many counts of rows are kept: a grain has all its rows, or, the last of an epoch, some less. */
const callsKept = 3;

/** Of an engine. */
export interface Lowered {
  readonly runtime: Runtime;
  readonly sessions: Sessions;
  readonly lowering: Lowering;
  /** Of the machine. */
  readonly threads: number;
}

export interface PartialGradient extends Gradient {
  /** Of a kernel whose gradient is held back: what it is the product of, after a run. */
  factorsOf(tensor: string): HeldFactors;
}

/** Sums of loss and gradient over the grains of one call; see `Engine.compileGradient`. The gradients of `held`, kernels of dense layers, are not worked out: with one grain and no statistics of the batch only. */
export async function compileGradient(
  { runtime, sessions, lowering, threads: allThreads }: Lowered,
  trainable: Trainable,
  { grainRows, grains }: GradientShape,
  held: readonly string[] = [],
): Promise<PartialGradient> {
  refuseUntrainable("onnx", trainable);
  const { network, loss, preprocessing, batchNorm } = trainable;
  assert(Number.isInteger(grainRows) && grainRows >= 2, `a grain has at least 2 rows, found ${grainRows}`);
  assert(isPowerOfTwo(grains), `the grains of one call must be a power of two, found ${grains}`);
  const columns = targetColumns(network, loss);
  const program = differentiate(network, { batchNorm });
  const { threads, productColumns } = threadsOf(program, network, allThreads);
  const shapes = layerShapes(network);
  const rows = grains * grainRows;
  const rowLength = elementCount(network.inputShape);
  const statisticsLength = statisticsLayout(network).length;
  const parametersLength = parameterLayout(network).length;
  const dropouts = network.layers.filter(({ kind }) => kind === "dropout").map(({ name }) => elementCount(shapes.get(name) ?? []));

  const targets = new Targets(rows, columns, loss);
  const rowLoss = new Float32Array(rows);
  const predicted = new Int32Array(rows);
  const ownGradient = new Float32Array(parametersLength);
  // With statistics of the batch a grain is run by itself, on exactly the rows that count.
  const ofBatch = program.moments.size > 0;
  const moments = new Float32Array(ofBatch ? statisticsLength : 0);
  const gradientSums = new GrainSums(parametersLength);
  const momentSums = new GrainSums(moments.length);
  const callGrains = grainsOfCall(network, batchNorm, grainRows, grains);
  assert(held.length === 0 || (grains === 1 && !ofBatch), "gradients of one whole call are held back, or none");
  const calls = new Map<number, GradientCall>();
  await callOf(ofBatch ? grainRows : callGrains * grainRows);
  let running = false;

  return {
    async run(input) {
      assert(!running, "one gradient call at a time: its results lie in arrays that are used again");
      checkInput(input);
      const gradient = input.gradient ?? ownGradient;
      targets.write(input.labels, input.rowWeights);
      running = true;
      try {
        if (callGrains === grains && !ofBatch)
          await (await callOf(rows)).run({ ...input, targets: targets.data }, { gradient, moments, rowLoss, predicted });
        else await runParts(input, gradient);
      } finally {
        running = false;
      }
      return { ...sumRowLosses(rowLoss, predicted, input, grains), gradient, statistics: moments };
    },
    factorsOf(tensor) {
      const call = calls.get(rows);
      assert(call !== undefined);
      return call.factorsOf(tensor);
    },
    async release() {
      await Promise.all([...calls.values()].map((call) => call.release()));
      calls.clear();
    },
  };

  /** The session for a part of so many rows: of one grain with statistics of the batch, else of `callGrains`. */
  async function callOf(count: number): Promise<GradientCall> {
    const known = calls.get(count);
    if (known !== undefined) return known;
    const shape = ofBatch ? { grainRows: count, grains: 1 } : { grainRows, grains: callGrains };
    const madeFrom = ["gradient", lowering.name, network, loss, batchNorm, preprocessing, shape, productColumns, held];
    const options = { ...shape, loss, preprocessing, productColumns };
    // A product of a single row takes a path on which threads show.
    const placement = { threads: count === 1 ? 1 : threads, inOwnThread: isLongCall(network, count, "gradient") };
    const opened = await sessions.open(madeFrom, placement, () => lowerGradient(program, lowering, options, held));
    const call = new GradientCall(runtime, opened, network, shape);
    for (const [oldest, unused] of calls) {
      if (calls.size < callsKept) break;
      calls.delete(oldest);
      await unused.release();
    }
    calls.set(count, call);
    return call;
  }

  /** One call after another, their sums added along the tree. */
  async function runParts(input: GradientInput, gradient: Float32Array): Promise<void> {
    gradientSums.begin(gradient);
    momentSums.begin(moments);
    const partRows = callGrains * grainRows;
    for (let first = 0; first < rows; first += partRows) {
      const end = first + partRows;
      const chosen = ofBatch ? countedRows(input.rowWeights, first, end) : Array.from({ length: partRows }, (_, row) => first + row);
      const output = {
        gradient: gradientSums.next(),
        moments: momentSums.next(),
        rowLoss: new Float32Array(chosen.length),
        predicted: new Int32Array(chosen.length),
      };
      if (chosen.length === 0) for (const vector of [output.gradient, output.moments]) vector.fill(0);
      else await (await callOf(chosen.length)).run(rowsOf(input, chosen), output);
      output.moments.forEach((value, i) => (output.moments[i] = value * chosen.length));
      chosen.forEach((row, i) => {
        rowLoss[row] = output.rowLoss[i] as number;
        predicted[row] = output.predicted[i] as number;
      });
      gradientSums.add();
      momentSums.add();
    }
  }

  function rowsOf(input: GradientInput, chosen: readonly number[]): CallInput {
    return {
      parameters: input.parameters,
      statistics: input.statistics,
      features: chosenRows(input.features, chosen, rowLength),
      targets: chosenRows(targets.data, chosen, columns),
      rowWeights: chosenRows(input.rowWeights, chosen, 1),
      dropoutMasks: input.dropoutMasks.map((mask, i) => chosenRows(mask, chosen, dropouts[i] ?? 0)),
    };
  }

  function checkInput({ parameters, statistics, features, labels, rowWeights, dropoutMasks, gradient }: GradientInput): void {
    const expect = (slot: string, found: number, length: number): void =>
      assert.equal(found, length, `gradient of ${network.name}: ${slot} must hold ${length} values, found ${found}`);
    checkFeatures(network.name, features, rows * rowLength, preprocessing);
    expect("parameters", parameters.length, parametersLength);
    expect("statistics", statistics.length, statisticsLength);
    expect("labels", labels.length, rows);
    expect("rowWeights", rowWeights.length, rows);
    assert.equal(dropoutMasks.length, dropouts.length, `gradient of ${network.name}: one mask per dropout layer`);
    dropouts.forEach((length, i) => expect(`dropout mask ${i}`, dropoutMasks[i]?.length ?? 0, rows * length));
    if (gradient !== undefined) expect("gradient", gradient.length, parametersLength);
  }
}
