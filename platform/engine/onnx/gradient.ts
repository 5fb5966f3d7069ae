import { strict as assert } from "node:assert";
import type { GradientProgram } from "../../../domain/network/gradient/program.js";
import { differentiate } from "../../../domain/network/gradient/differentiate.js";
import { elementCount } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { grainsOfCall } from "../../../domain/training/call-grains.js";
import { parameterLayout, statisticsLayout } from "../../../domain/training/parameters.js";
import { isPowerOfTwo } from "../../../domain/training/tree.js";
import { checkFeatures } from "../check-features.js";
import { chosenRows, countedRows } from "../chosen-rows.js";
import type { Gradient, GradientInput, GradientShape, Trainable } from "../engine.js";
import { GrainSums } from "../grain-sums.js";
import { refuseUntrainable } from "../refuse-untrainable.js";
import { sumRowLosses, Targets } from "../row-sums.js";
import { targetColumns } from "../target-columns.js";
import { type CallInput, GradientCall } from "./gradient-call.js";
import { lowerGradient } from "./lowering/lowered-graph.js";
import type { Lowering } from "./lowering/lowering.js";
import { columnsFor } from "./lowering/products.js";
import type { Runtime } from "./runtime.js";
import type { Sessions } from "./sessions.js";

/** Threads of a graph, and what of it makes their number invisible. */
export interface Threads {
  readonly threads: number;
  readonly productColumns: number;
}

/**
 * Dense layers alone run on one thread, whatever the machine: two gain nothing at the batches that heads are trained with, and a matrix product shared by threads adds in another order. Networks
 * with convolutions run on all threads: for those the lowerings see to it that no bit depends on how many there are.
 */
export function threadsOf({ operations }: GradientProgram, threads: number): Threads {
  const hasWindows = operations.some(({ primitive }) => "window" in primitive);
  return hasWindows ? { threads, productColumns: columnsFor(threads) } : { threads: 1, productColumns: columnsFor("one, always") };
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

/** Sums of loss and gradient over the grains of one call; see `Engine.compileGradient`. */
export async function compileGradient(
  { runtime, sessions, lowering, threads: allThreads }: Lowered,
  trainable: Trainable,
  { grainRows, grains }: GradientShape,
): Promise<Gradient> {
  refuseUntrainable("onnx", trainable);
  const { network, loss, preprocessing, batchNorm } = trainable;
  assert(Number.isInteger(grainRows) && grainRows >= 2, `a grain has at least 2 rows, found ${grainRows}`);
  assert(isPowerOfTwo(grains), `the grains of one call must be a power of two, found ${grains}`);
  const columns = targetColumns(network, loss);
  const program = differentiate(network, { batchNorm });
  const { threads, productColumns } = threadsOf(program, allThreads);
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
    const madeFrom = ["gradient", lowering.name, network, loss, batchNorm, preprocessing, shape, productColumns];
    const options = { ...shape, loss, preprocessing, productColumns };
    // A product of a single row takes a path on which threads show.
    const opened = await sessions.open(madeFrom, count === 1 ? 1 : threads, () => lowerGradient(program, lowering, options));
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
