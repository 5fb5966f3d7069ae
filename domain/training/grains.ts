import assert from "node:assert";
import { limits } from "../limits.js";
import { randomKey, RandomStream } from "../random.js";
import { isPowerOfTwo } from "./tree.js";

/** Numbers from `from` up to, not including, `to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Range `index` of `count` that divide 0 … `length` - 1 as evenly as whole numbers allow. */
export function evenRange(length: number, count: number, index: number): Range {
  return { from: Math.floor((index * length) / count), to: Math.floor(((index + 1) * length) / count) };
}

/**
 * Grains of every batch: the wanted number, or the largest smaller power of two with at least two rows in each grain; one where more parameters are trained than
 * `limits.parametersForGrains`. `wanted` is a power of two.
 */
export function grainCount(batchSize: number, wanted: number, parameterCount: number): number {
  assert(isPowerOfTwo(wanted), `grains must be a power of two, got ${wanted}`);
  if (parameterCount > limits.parametersForGrains) return 1;
  let grains = wanted;
  while (grains > 1 && Math.floor(batchSize / grains) < 2) grains /= 2;
  return grains;
}

/** Rows that a grain is padded to: those of the largest grain, at least two. */
export function grainRowsMax(batchSize: number, grains: number): number {
  return Math.max(2, Math.ceil(batchSize / grains));
}

/** Places in the batch that grain `grain` of `grains` holds. */
export function grainRows(batchSize: number, grains: number, grain: number): Range {
  return evenRange(batchSize, grains, grain);
}

/** Grains of trainer `trainer` of `trainers`, contiguous, never none: there are at most as many trainers as grains. */
export function grainsOfTrainer(grains: number, trainers: number, trainer: number): Range {
  assert(trainers >= 1 && trainers <= grains, `${trainers} trainers cannot share ${grains} grains`);
  return evenRange(grains, trainers, trainer);
}

/** Values of features: float32 activations or uint8 pixels. */
export type FeatureArray = Float32Array | Uint8Array;

/** The training rows as they are held in memory. */
export interface TrainingRows {
  /** `[rows, featureLength]` of each view; epoch e uses view e mod the number of views. */
  readonly views: readonly FeatureArray[];
  readonly featureLength: number;
  /** `[rows]`: class numbers. */
  readonly labels: Int32Array;
  /** `[classes]`: what a row of each class counts. */
  readonly classWeights: Float32Array;
}

export interface DropoutLayer {
  readonly name: string;
  /** Activations per row that it masks. */
  readonly units: number;
  /** 0 <= rate < 1, worked out to 1 / 65,536. */
  readonly rate: number;
}

/** The shape of one engine call and of the batch that its grains belong to. */
export interface GrainCall {
  readonly batchSize: number;
  /** Grains of the whole batch. */
  readonly grains: number;
  /** Grains of one call. */
  readonly callGrains: number;
  readonly seed: number;
  readonly dropout: readonly DropoutLayer[];
}

/**
 * Padded inputs of one engine call, filled anew for each call; all of `GradientInput` (platform/engine) but the parameters.
 * Dropout masks depend on seed, layer, step and place in the batch only, so neither grains nor trainers show in them.
 */
export class GrainInput {
  /** `[callGrains, grainRows, featureLength]`, of the kind that the rows have. */
  readonly features: FeatureArray;
  /** `[callGrains, grainRows]` */
  readonly labels: Int32Array;
  /** `[callGrains, grainRows]`: the class weight, 0 in padding. */
  readonly rowWeights: Float32Array;
  /** One per dropout layer: `[callGrains, grainRows, units]`, 0 or 1 / (1 - rate). */
  readonly dropoutMasks: readonly Float32Array[];

  readonly #call: GrainCall;
  readonly #rows: TrainingRows;
  readonly #grainRows: number;
  readonly #streams: readonly RandomStream[];
  /** What a unit is multiplied by: kept, dropped. */
  readonly #outcomes = new Float32Array(2);
  /** Room for the random numbers of one row's mask. */
  readonly #maskBits: Uint32Array;

  constructor(call: GrainCall, rows: TrainingRows) {
    this.#call = call;
    this.#rows = rows;
    this.#grainRows = grainRowsMax(call.batchSize, call.grains);
    const places = call.callGrains * this.#grainRows;
    const values = places * rows.featureLength;
    this.features = rows.views[0] instanceof Uint8Array ? new Uint8Array(values) : new Float32Array(values);
    this.labels = new Int32Array(places);
    this.rowWeights = new Float32Array(places);
    this.dropoutMasks = call.dropout.map(({ units }) => new Float32Array(places * units));
    this.#maskBits = new Uint32Array(Math.max(0, ...call.dropout.map(({ units }) => 4 * Math.ceil(units / 8))));
    this.#streams = call.dropout.map(({ name }) => new RandomStream(randomKey(call.seed, `dropout/${name}`)));
  }

  /** Fills in grains `firstGrain` … `firstGrain` + callGrains - 1 of the batch of `step`, whose rows are `batch` (`[batchSize]`). */
  fill(step: number, batch: Uint32Array, firstGrain: number): void {
    const { batchSize, grains, callGrains, dropout } = this.#call;
    assert(batch.length === batchSize, `a batch of ${batch.length} rows where ${batchSize} were planned`);
    assert(firstGrain >= 0 && firstGrain + callGrains <= grains, `grains ${firstGrain} to ${firstGrain + callGrains - 1} of ${grains}`);
    const { featureLength } = this.#rows;
    for (let grain = 0; grain < callGrains; grain++) {
      const { from, to } = grainRows(batchSize, grains, firstGrain + grain);
      const start = grain * this.#grainRows;
      for (let place = from; place < to; place++) {
        const at = start + place - from;
        this.#copyRow(batch[place] as number, this.#viewOf(step, place), at);
        for (let layer = 0; layer < dropout.length; layer++) this.#drawMask(layer, step, place, at);
      }
      const paddedFrom = start + to - from;
      const paddedTo = start + this.#grainRows;
      this.features.fill(0, paddedFrom * featureLength, paddedTo * featureLength);
      this.labels.fill(0, paddedFrom, paddedTo);
      this.rowWeights.fill(0, paddedFrom, paddedTo);
    }
  }

  /** The view of the epoch that the place belongs to. Exact: step x batchSize may pass 2^32, but stays below 2^53. */
  #viewOf(step: number, place: number): FeatureArray {
    const { views, labels } = this.#rows;
    const epoch = Math.floor((step * this.#call.batchSize + place) / labels.length);
    return views[epoch % views.length] as FeatureArray;
  }

  #copyRow(row: number, features: FeatureArray, at: number): void {
    const { featureLength, labels, classWeights } = this.#rows;
    const label = labels[row];
    assert(label !== undefined, `row ${row} of ${labels.length}`);
    const weight = classWeights[label];
    assert(weight !== undefined, `label ${label} of ${classWeights.length} classes in row ${row}`);
    this.features.set(features.subarray(row * featureLength, (row + 1) * featureLength), at * featureLength);
    this.labels[at] = label;
    this.rowWeights[at] = weight;
  }

  /** Each 32-bit number decides for two units. */
  #drawMask(layer: number, step: number, place: number, at: number): void {
    const { units, rate } = this.#call.dropout[layer] as DropoutLayer;
    const mask = this.dropoutMasks[layer] as Float32Array;
    const stream = this.#streams[layer] as RandomStream;
    const dropBelow = Math.floor(rate * 65536 + 0.5);
    const kept = Math.fround(1 / (1 - rate));
    stream.seek(step, place);
    const bits = this.#maskBits.subarray(0, 4 * Math.ceil(units / 8));
    stream.fill(bits);
    const start = at * units;
    // A look-up by the sign bit: a branch on random bits would be mispredicted at the rate of the dropout.
    const outcomes = this.#outcomes;
    outcomes[0] = kept;
    for (let unit = 0; unit < units; unit += 2) {
      const word = bits[unit >>> 1] as number;
      mask[start + unit] = outcomes[((word & 0xffff) - dropBelow) >>> 31] as number;
      if (unit + 1 < units) mask[start + unit + 1] = outcomes[((word >>> 16) - dropBelow) >>> 31] as number;
    }
  }
}
