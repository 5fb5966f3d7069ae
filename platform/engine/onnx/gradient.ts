import { strict as assert } from "node:assert";
import type { GradientProgram } from "../../../domain/network/gradient/program.js";
import { differentiate } from "../../../domain/network/gradient/differentiate.js";
import { elementCount, type Network } from "../../../domain/network/network.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { grainsOfCall, lanesOfCall } from "../../../domain/training/call-grains.js";
import { largeKernels } from "../../../domain/training/large-kernels.js";
import { isLongCall } from "../../../domain/training/long-calls.js";
import { parameterLayout, statisticsLayout } from "../../../domain/training/parameters.js";
import { addAlongTree, isPowerOfTwo } from "../../../domain/training/tree.js";
import { checkFeatures } from "../check-features.js";
import type { Gradient, GradientInput, GradientShape, Trainable } from "../engine.js";
import { refuseUntrainable } from "../refuse-untrainable.js";
import { sumRowLosses, Targets } from "../row-sums.js";
import { targetColumns } from "../target-columns.js";
import { Addition } from "./addition.js";
import type { CallInput, CallOutput, HeldFactors } from "./gradient-call.js";
import { type GradientLane, rowsOfParts } from "./gradient-lane.js";
import { LaneHere } from "./lane-here.js";
import { LaneInThread } from "./lane-in-thread.js";
import { type GradientGraph, lowerGradient } from "./lowering/lowered-graph.js";
import type { Lowering } from "./lowering/lowering.js";
import { columnsFor, threadsFor } from "./lowering/products.js";
import type { Runtime } from "./runtime.js";
import type { GraphSource, Sessions } from "./sessions.js";

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
  const shapes = layerShapes(network);
  const rows = grains * grainRows;
  const rowLength = elementCount(network.inputShape);
  const statisticsLength = statisticsLayout(network).length;
  const parametersLength = parameterLayout(network).length;
  const dropouts = network.layers.filter(({ kind }) => kind === "dropout").map(({ name }) => elementCount(shapes.get(name) ?? []));
  const ofBatch = program.moments.size > 0;
  assert(held.length === 0 || (grains === 1 && !ofBatch), "gradients of one whole call are held back, or none");

  // Long calls are shared by lanes of fewer threads, each with its own grains: what an operator does on one thread then runs on all cores.
  const isLong = isLongCall(network, rows, "gradient");
  const laneCount = isLong ? lanesOfCall(network, batchNorm, grainRows, grains, allThreads) : 1;
  const laneGrains = grains / laneCount;
  const { threads, productColumns } = threadsOf(program, network, Math.floor(allThreads / laneCount));
  const partGrains = grainsOfCall(network, batchNorm, grainRows, laneGrains);
  const momentsLength = ofBatch ? statisticsLength : 0;
  const shape = {
    network,
    grainRows,
    grains: laneGrains,
    partGrains,
    ofBatch,
    parametersLength,
    momentsLength,
    rowLength,
    columns,
    dropouts,
  };
  const graphOf = (count: number): GraphSource<GradientGraph> => {
    const part = ofBatch ? { grainRows: count, grains: 1 } : { grainRows, grains: partGrains };
    const isDivided = isLong && partGrains < laneGrains;
    const madeFrom = ["gradient", lowering.name, network, loss, batchNorm, preprocessing, part, productColumns, held, isDivided];
    return { madeFrom, lower: () => lowerGradient(program, lowering, { ...part, loss, preprocessing, productColumns }, held, isDivided) };
  };
  const entering = { statisticsLength, features: preprocessing ? "uint8" : "float32" } as const;
  const here = isLong ? undefined : new LaneHere(runtime, sessions, shape, threads, graphOf);
  const lanes = here
    ? [here]
    : await Promise.all(Array.from({ length: laneCount }, () => LaneInThread.start(sessions, shape, entering, threads, graphOf)));
  await Promise.all(lanes.map((lane) => lane.ready(new Set([partGrains * grainRows]))));

  const addition = laneCount > 1 ? await Addition.open(runtime, parametersLength) : undefined;

  const targets = new Targets(rows, columns, loss);
  const rowLoss = new Float32Array(rows);
  const predicted = new Int32Array(rows);
  const ownGradient = new Float32Array(parametersLength);
  let running = false;

  return {
    async run(input) {
      assert(!running, "one gradient call at a time: its results lie in arrays that are used again");
      checkInput(input);
      const gradient = input.gradient ?? ownGradient;
      targets.write(input.labels, input.rowWeights);
      running = true;
      try {
        const runs = await Promise.allSettled(lanes.map((lane, i) => runLane(lane, i, input, gradient)));
        const outputs = runs.map((run) => {
          if (run.status === "rejected") throw run.reason as Error;
          return run.value;
        });
        outputs.forEach((output, i) => {
          rowLoss.set(output.rowLoss, i * laneGrains * grainRows);
          predicted.set(output.predicted, i * laneGrains * grainRows);
        });
        await addLanes(
          outputs.map((output) => output.gradient),
          gradient,
        );
        const statistics = addAlongTree(outputs.map(({ moments: values }, i) => ({ first: i * laneGrains, grains: laneGrains, values })));
        return { ...sumRowLosses(rowLoss, predicted, input, grains), gradient, statistics };
      } finally {
        running = false;
      }
    },
    factorsOf(tensor) {
      assert(here !== undefined);
      return here.factorsOf(tensor, rows);
    },
    async release() {
      await Promise.all(lanes.map((lane) => lane.release()));
      await addition?.release();
    },
  };

  async function runLane(lane: GradientLane, index: number, input: GradientInput, gradient: Float32Array): Promise<CallOutput> {
    const laneInput = laneCount === 1 ? { ...input, targets: targets.data } : inputOfLane(index, input);
    if (ofBatch) {
      const counts = rowsOfParts(shape, laneInput.rowWeights).map(({ length }) => length);
      await lane.ready(new Set(counts.filter((count) => count > 0)));
    }
    return lane.run(laneInput, gradient);
  }

  function inputOfLane(index: number, { parameters, statistics, features, rowWeights, dropoutMasks }: GradientInput): CallInput {
    const laneRows = laneGrains * grainRows;
    const part = <Data extends Float32Array | Uint8Array>(data: Data, length: number): Data =>
      data.subarray(index * laneRows * length, (index + 1) * laneRows * length) as Data;
    return {
      parameters,
      statistics,
      features: part(features, rowLength),
      targets: part(targets.data, columns),
      rowWeights: part(rowWeights, 1),
      dropoutMasks: dropoutMasks.map((mask, i) => part(mask, dropouts[i] ?? 0)),
    };
  }

  /** The sum of the lanes' gradients, along the tree. */
  async function addLanes(vectors: readonly Float32Array[], into: Float32Array): Promise<void> {
    const [first] = vectors;
    assert(first !== undefined);
    if (addition === undefined) {
      if (first !== into) into.set(first);
      return;
    }
    for (let distance = 1; distance < laneCount; distance *= 2)
      for (let left = 0; left < laneCount; left += 2 * distance) {
        const [a, b] = [vectors[left], vectors[left + distance]] as [Float32Array, Float32Array];
        await addition.add(a, b, 2 * distance === laneCount ? into : a);
      }
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
