import { strict as assert } from "node:assert";
import type { GradientProgram, Operation } from "../../domain/network/gradient/program.js";
import { elementCount } from "../../domain/network/network.js";
import type { ReferenceWeights } from "./reference-network.js";
import { convolution, convolutionInputGradient, convolutionKernelGradient, crop, pad, pool, poolGradient } from "./reference-windows.js";

/** What a program is given, for one grain. */
export interface ProgramInput {
  readonly rows: number;
  /** `[rows, ...inputShape]` */
  readonly features: ArrayLike<number>;
  /** Parameters and moving statistics by name. */
  readonly tensors: ReferenceWeights;
  /** By dropout layer, `[rows, ...shape]`. */
  readonly masks?: ReadonlyMap<string, ArrayLike<number>>;
  /** With statistics of the batch, one a row: whether it counts. By default all do. */
  readonly counted?: readonly boolean[];
  /** Gradient of the loss by the output, given the output; without it only the forward pass is run. */
  readonly outputGradient?: (output: Float64Array) => ArrayLike<number>;
}

/** Runs a program in float64, operation by operation, by the plainest loops that say what each primitive means: what lowerings are compared with. Returns the results by id. */
export function evaluateProgram(program: GradientProgram, input: ProgramInput): Float64Array[] {
  const values: Float64Array[] = [];
  const operations = input.outputGradient === undefined ? program.operations.slice(0, program.forward) : program.operations;
  for (const operation of operations) {
    const { primitive, operands, result, layer } = operation;
    const given = operands.map(({ id }) => values[id] as Float64Array);
    assert(!given.includes(undefined as never) && result.id === values.length, `${primitive.kind} of ${layer}: operands must precede it`);
    const value = compute(operation, given, input, values[program.output.id]);
    const length = elementCount(result.shape) * (result.hasRows ? input.rows : 1);
    assert.equal(value.length, length, `${primitive.kind} of ${layer}: values`);
    values.push(value);
  }
  return values;
}

function compute(
  operation: Operation,
  given: readonly Float64Array[],
  input: ProgramInput,
  output: Float64Array | undefined,
): Float64Array {
  const { primitive, operands, result } = operation;
  const { rows } = input;
  const [a, b, c, d] = given as [Float64Array, Float64Array, Float64Array, Float64Array];
  const channels = operands[0]?.shape.at(-1) ?? 1;
  const at = (values: Float64Array, i: number): number => values[i] as number;
  const isCounted = (i: number): boolean => input.counted?.[Math.floor((i * rows) / a.length)] ?? true;
  const countedRows = input.counted?.filter(Boolean).length ?? rows;
  /** Sums by channel over rows that count. */
  const overRows = (each: (i: number) => number): Float64Array => {
    const sums = new Float64Array(channels);
    for (let i = 0; i < a.length; i++) if (isCounted(i)) sums[i % channels] = at(sums, i % channels) + each(i);
    return sums;
  };
  const divided = (sums: Float64Array, count: number): Float64Array => sums.map((sum) => (count === 0 ? 0 : sum / count));
  const windowOf = { rows, from: operands[0]?.shape ?? [], to: result.shape };

  switch (primitive.kind) {
    case "features":
      return Float64Array.from(input.features);
    case "parameter":
    case "statistic":
      return Float64Array.from(input.tensors.get(primitive.name)?.data ?? []);
    case "mask":
      return Float64Array.from(input.masks?.get(primitive.layer) ?? []);
    case "outputGradient":
      return Float64Array.from(output === undefined ? [] : (input.outputGradient?.(output) ?? []));

    case "convolution":
      return convolution(primitive, windowOf, a, b, given[2]);
    case "convolutionInputGradient":
      return convolutionInputGradient(primitive, windowOf, a, b);
    case "convolutionKernelGradient":
      return convolutionKernelGradient(primitive, { rows, from: windowOf.from, to: operands[1]?.shape ?? [] }, a, b);
    case "product":
      return product(a, b, rows, channels).map((sum, i) => sum + (given[2] === undefined ? 0 : at(c, i % c.length)));
    case "productInputGradient":
      return product(a, transposed(b, channels), rows, channels);
    case "productKernelGradient":
      return product(transposed(a, channels), b, channels, rows);

    case "sumOverRows":
      return overRows((i) => at(a, i));
    case "dotOverRows":
      return overRows((i) => at(a, i) * (at(b, i) - (given[2] === undefined ? 0 : at(c, i % channels))));
    case "meanOfSum":
      return divided(a, countedRows * primitive.places);
    case "varianceOverRows":
      return divided(overRows((i) => (at(a, i) - at(b, i % channels)) ** 2), (countedRows * a.length) / rows / channels); // prettier-ignore
    case "countedRows":
      return a.map((x, i) => (isCounted(i) ? x : 0));
    case "scaleChannels":
      return a.map((x, i) => x * at(b, i % channels) + (given[2] === undefined ? 0 : at(c, i % channels)));
    case "addScaled":
      return a.map((x, i) => x + at(b, i) * at(c, i % channels) + at(d, i % channels));

    case "relu":
      return a.map((x) => Math.max(x, 0));
    case "relu6":
      return a.map((x) => Math.min(Math.max(x, 0), 6));
    case "sigmoid":
      return a.map((x) => 1 / (1 + Math.exp(-x)));
    case "softmax": {
      const exponentials = a.map((x) => Math.exp(x));
      const sums = sumsOverChannels(exponentials, channels);
      return exponentials.map((x, i) => x / at(sums, Math.floor(i / channels)));
    }
    case "reluGradient":
      return a.map((dy, i) => (at(b, i) > 0 ? dy : 0));
    case "relu6Gradient":
      return a.map((dy, i) => (at(b, i) > 0 && at(b, i) < 6 ? dy : 0));
    case "sigmoidGradient":
      return a.map((dy, i) => dy * at(b, i) * (1 - at(b, i)));
    case "softmaxGradient": {
      const sums = sumsOverChannels(a.map((dy, i) => dy * at(b, i)), channels); // prettier-ignore
      return a.map((dy, i) => (dy - at(sums, Math.floor(i / channels))) * at(b, i));
    }

    case "add":
    case "parameterSum":
      return a.map((x, i) => x + at(b, i));
    case "multiply":
    case "parameterProduct":
      return a.map((x, i) => x * at(b, i));
    case "parameterDifference":
      return a.map((x, i) => x - at(b, i));
    case "negative":
      return a.map((x) => -x);
    case "inverseRoot":
      return a.map((variance) => 1 / Math.sqrt(variance + primitive.epsilon));
    case "scaleKernel":
      return a.map((x, i) => x * at(b, i % b.length)); // the output channel is the innermost axis, also of `[h, w, channels, 1]`
    case "dotKernels": {
      const sums = new Float64Array(elementCount(result.shape));
      a.forEach((x, i) => (sums[i % sums.length] = at(sums, i % sums.length) + x * at(b, i)));
      return sums;
    }

    case "concat": {
      const places = a.length / channels;
      const all = Array.from({ length: places }, (_, place) =>
        given.flatMap((x) => [...x.subarray((place * x.length) / places, ((place + 1) * x.length) / places)]),
      );
      return Float64Array.from(all.flat());
    }
    case "channels":
      return a.filter((_, i) => i % channels >= primitive.first && i % channels < primitive.first + (result.shape.at(-1) ?? 0));
    case "reshape":
      return a;
    case "pad":
      return pad(primitive, windowOf, a);
    case "crop":
      return crop(primitive, windowOf, a);
    case "maxPool":
    case "averagePool":
      return pool(primitive, windowOf, a);
    case "maxPoolGradient":
      return poolGradient(primitive, windowOf, a, b);
    case "averagePoolGradient":
      return poolGradient(primitive, windowOf, a);
    case "globalAveragePool": {
      const places = a.length / rows / channels;
      return Float64Array.from({ length: rows * channels }, (_, i) => {
        let sum = 0;
        for (let place = 0; place < places; place++) sum += at(a, (Math.floor(i / channels) * places + place) * channels + (i % channels));
        return sum / places;
      });
    }
    case "globalAveragePoolGradient": {
      const places = elementCount(result.shape) / channels;
      return Float64Array.from({ length: rows * places * channels }, (_, i) => at(a, Math.floor(i / (places * channels)) * channels + (i % channels)) / places); // prettier-ignore
    }
  }
}

/** a `[rows, inner]` x b `[inner, columns]` */
function product(a: Float64Array, b: Float64Array, rows: number, inner: number): Float64Array {
  const columns = b.length / inner;
  const result = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < inner; i++) {
      const factor = a[row * inner + i] as number;
      for (let column = 0; column < columns; column++)
        result[row * columns + column] = (result[row * columns + column] as number) + factor * (b[i * columns + column] as number);
    }
  }
  return result;
}

function transposed(a: Float64Array, columns: number): Float64Array {
  const rows = a.length / columns;
  return a.map((_, i) => a[(i % rows) * columns + Math.floor(i / rows)] as number);
}

function sumsOverChannels(values: Float64Array, channels: number): Float64Array {
  const sums = new Float64Array(values.length / channels);
  values.forEach((value, i) => (sums[Math.floor(i / channels)] = (sums[Math.floor(i / channels)] as number) + value));
  return sums;
}
