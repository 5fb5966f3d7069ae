import { strict as assert } from "node:assert";
import type { Network } from "../../../domain/network/network.js";
import { chosenRows, countedRows } from "../chosen-rows.js";
import { GrainSums } from "../grain-sums.js";
import { Addition } from "./addition.js";
import { type CallInput, type CallOutput, GradientCall, type HeldFactors } from "./gradient-call.js";
import type { GradientGraph } from "./lowering/lowered-graph.js";
import type { Runtime } from "./runtime.js";
import type { OpenSession } from "./sessions.js";

/** What a lane works out: neighbouring grains of a call, an aligned sub-tree, one part after another. */
export interface LaneShape {
  readonly network: Network;
  readonly grainRows: number;
  /** Of the lane. */
  readonly grains: number;
  /** Of a part, which is one call of a graph. */
  readonly partGrains: number;
  /** With statistics of the batch a part is one grain, run on exactly the rows that count. */
  readonly ofBatch: boolean;
  /** Lengths of all parameters, and of the moments that are asked for. */
  readonly parametersLength: number;
  readonly momentsLength: number;
  /** Lengths of one row: of the features, the targets, and the mask of each dropout layer. */
  readonly rowLength: number;
  readonly columns: number;
  readonly dropouts: readonly number[];
}

/** The rows of each part of a lane, by their places in the lane. */
export function rowsOfParts(
  { grainRows, grains, partGrains, ofBatch }: LaneShape,
  rowWeights: Float32Array,
): readonly (readonly number[])[] {
  const partRows = partGrains * grainRows;
  return Array.from({ length: grains / partGrains }, (_, part) => {
    const first = part * partRows;
    if (ofBatch) return countedRows(rowWeights, first, first + partRows);
    return Array.from({ length: partRows }, (_, row) => first + row);
  });
}

/** Of a graph for so many rows: a product of a single row takes a path on which threads show. */
export function threadsOfPart(rows: number, threads: number): number {
  return rows === 1 ? 1 : threads;
}

/** The name of a dropout layer's mask where arrays have names. */
export function maskName(dropout: number): string {
  return `mask ${dropout}`;
}

/** Graphs for so many counts of rows are kept: a grain has all its rows, or, the last of an epoch, some less. */
const graphsKept = 3;

/** One of the lanes that share the grains of a call. */
export abstract class GradientLane {
  /** Counts of rows for which a graph is open; the latest used is last. */
  #opened: readonly number[] = [];

  /** Opens what a run over parts of so many rows needs. */
  async ready(counts: ReadonlySet<number>): Promise<void> {
    const others = this.#opened.filter((rows) => !counts.has(rows));
    const kept = others.slice(Math.max(0, others.length + counts.size - graphsKept));
    for (const rows of others) if (!kept.includes(rows)) await this.close(rows);
    for (const rows of counts) if (!this.#opened.includes(rows)) await this.open(rows);
    this.#opened = [...kept, ...counts];
  }

  protected abstract open(rows: number): Promise<void>;
  protected abstract close(rows: number): Promise<void>;

  /** The sums of the lane's grains, and what came out for each of its rows; valid until the next run. `gradient` is where the sum may be written. */
  abstract run(input: CallInput, gradient: Float32Array): Promise<CallOutput>;

  abstract release(): Promise<void>;
}

/** The graphs of a lane, by their rows, and what adds its parts up. */
export class LaneCalls {
  readonly #runtime: Runtime;
  readonly #shape: LaneShape;
  readonly #calls = new Map<number, GradientCall>();
  readonly #gradientSums: GrainSums;
  readonly #momentSums: GrainSums;
  #addition: Promise<Addition> | undefined;

  constructor(runtime: Runtime, shape: LaneShape) {
    this.#runtime = runtime;
    this.#shape = shape;
    this.#gradientSums = new GrainSums(shape.parametersLength, async (sum, addend) => {
      this.#addition ??= Addition.open(runtime, shape.parametersLength);
      await (await this.#addition).add(sum, addend, sum);
    });
    this.#momentSums = new GrainSums(shape.momentsLength);
  }

  add(rows: number, opened: OpenSession<GradientGraph>): void {
    const { network, grainRows, partGrains, ofBatch } = this.#shape;
    const shape = ofBatch ? { grainRows: rows, grains: 1 } : { grainRows, grains: partGrains };
    this.#calls.set(rows, new GradientCall(this.#runtime, opened, network, shape));
  }

  async remove(rows: number): Promise<void> {
    const call = this.#of(rows);
    this.#calls.delete(rows);
    await call.release();
  }

  /** Writes the sums of the lane's grains, and what came out for each of its rows. There is a graph for each part. */
  async run(input: CallInput, output: CallOutput): Promise<void> {
    const { grainRows, grains, partGrains, ofBatch } = this.#shape;
    if (partGrains === grains && !ofBatch) await this.#of(grains * grainRows).run(input, output);
    else await this.#runParts(input, output);
  }

  factorsOf(tensor: string, rows: number): HeldFactors {
    return this.#of(rows).factorsOf(tensor);
  }

  async release(): Promise<void> {
    for (const rows of [...this.#calls.keys()]) await this.remove(rows);
    await (await this.#addition)?.release();
  }

  #of(rows: number): GradientCall {
    const call = this.#calls.get(rows);
    assert(call !== undefined, `no graph for ${rows} rows is open`);
    return call;
  }

  /** One call after another, their sums added along the tree. */
  async #runParts(input: CallInput, { gradient, moments, rowLoss, predicted }: CallOutput): Promise<void> {
    this.#gradientSums.begin(gradient);
    this.#momentSums.begin(moments);
    const parts = rowsOfParts(this.#shape, input.rowWeights);
    for (const count of new Set(parts.map(({ length }) => length))) if (count > 0) await this.#of(count).prepare(input);
    for (const rows of parts) {
      const part = {
        gradient: this.#gradientSums.next(),
        moments: this.#momentSums.next(),
        rowLoss: new Float32Array(rows.length),
        predicted: new Int32Array(rows.length),
      };
      if (rows.length === 0) for (const vector of [part.gradient, part.moments]) vector.fill(0);
      else await this.#of(rows.length).run(this.#rowsOf(input, rows), part);
      part.moments.forEach((value, i) => (part.moments[i] = value * rows.length));
      rows.forEach((row, i) => {
        rowLoss[row] = part.rowLoss[i] as number;
        predicted[row] = part.predicted[i] as number;
      });
      await this.#gradientSums.add();
      await this.#momentSums.add();
    }
  }

  #rowsOf({ parameters, statistics, features, targets, rowWeights, dropoutMasks }: CallInput, rows: readonly number[]): CallInput {
    const { rowLength, columns, dropouts } = this.#shape;
    return {
      parameters,
      statistics,
      features: chosenRows(features, rows, rowLength),
      targets: chosenRows(targets, rows, columns),
      rowWeights: chosenRows(rowWeights, rows, 1),
      dropoutMasks: dropoutMasks.map((mask, i) => chosenRows(mask, rows, dropouts[i] ?? 0)),
    };
  }
}
