import { describe, expect, test } from "vitest";
import type { GradientProgram, Operation, Primitive, PrimitiveKind, Value } from "../../../../../domain/network/gradient/program.js";
import { samePadding } from "../../../../../domain/network/catalog/same-padding.js";
import { elementCount, type Padding, type Pair, type Shape } from "../../../../../domain/network/network.js";
import { expectClose } from "../../../../../test/conformance/engine/compare.js";
import { randoms } from "../../../../../test/conformance/engine/inputs.js";
import { evaluateProgram } from "../../../../../test/support/reference-program.js";
import { createSession, loadRuntime } from "../../runtime.js";
import { Walk } from "../walk.js";
import { portableLowering } from "./portable.js";

/** An operand with rows, or a tensor without; `through` is what an operation before makes of it. */
interface Operand {
  readonly shape: Shape;
  readonly rows: boolean;
  readonly through?: Primitive;
}

interface Case {
  readonly primitive: Primitive;
  readonly operands: readonly Operand[];
  readonly shape: Shape;
  readonly rows: boolean;
}

const grainRows = 3;
const around: Padding = { top: 1, bottom: 1, left: 1, right: 1 };
const none: Padding = { top: 0, bottom: 0, left: 0, right: 0 };
const uneven: Padding = { top: 0, bottom: 1, left: 2, right: 0 };

const x = (...shape: number[]): Operand => ({ shape, rows: true });
const p = (...shape: number[]): Operand => ({ shape, rows: false });
const after = (through: Primitive, ...shape: number[]): Operand => ({ shape, rows: true, through });
/** One a grain: the sum of rows. */
const summed = (...shape: number[]): Operand => ({ shape, rows: false, through: { kind: "sumOverRows" } });
const rows = (primitive: Primitive, operands: readonly Operand[], ...shape: number[]): Case => ({ primitive, operands, shape, rows: true });
const tensor = (primitive: Primitive, operands: readonly Operand[], ...shape: number[]): Case => ({
  primitive,
  operands,
  shape,
  rows: false,
});

/** Windows on pictures of 7 x 6 places, with the places that come out. */
const windows: readonly (readonly [size: Pair, strides: Pair, padding: Padding])[] = [
  [[1, 1], [1, 1], none],
  [[1, 1], [2, 2], none],
  [[3, 3], [1, 1], around],
  [[3, 3], [2, 2], around],
  [[3, 3], [2, 2], samePadding([7, 6], [3, 3], [2, 2])],
  [[3, 3], [3, 2], none],
  [[2, 3], [1, 2], { top: 1, bottom: 0, left: 2, right: 1 }],
  [[2, 2], [3, 4], none],
];

function outOf([height, width]: Pair, [size, strides, padding]: (typeof windows)[number]): [number, number] {
  const along = (length: number, axis: 0 | 1, pads: number): number => Math.floor((length + pads - size[axis]) / strides[axis]) + 1;
  return [along(height, 0, padding.top + padding.bottom), along(width, 1, padding.left + padding.right)];
}

const everyWindow = (make: (window: { size: Pair; strides: Pair; padding: Padding }, out: [number, number]) => Case[]): Case[] =>
  windows.flatMap((each) => make({ size: each[0], strides: each[1], padding: each[2] }, outOf([7, 6], each)));

const elementwise = (primitive: Primitive): Case[] => [rows(primitive, [x(5)], 5), rows(primitive, [x(2, 3, 4)], 2, 3, 4)];
const gradientOf = (primitive: Primitive, of: Primitive): Case[] => [
  rows(primitive, [x(5), after(of, 5)], 5),
  rows(primitive, [x(2, 3, 4), after(of, 2, 3, 4)], 2, 3, 4),
];

/** What enters (features, parameters, masks) and the loss are seen in every gradient of the engines' suite. */
type Entering = "features" | "parameter" | "statistic" | "mask" | "outputGradient";

const cases: Readonly<Record<Exclude<PrimitiveKind, Entering>, readonly Case[]>> = {
  convolution: [
    // One place comes out, or is left.
    rows(
      { kind: "convolution", window: { size: [3, 3], strides: [2, 1], padding: around }, channels: "all" },
      [x(1, 1, 4), p(3, 3, 4, 5), p(5)],
      1,
      1,
      5,
    ),
    ...everyWindow((window, out) => [
      rows({ kind: "convolution", window, channels: "all" }, [x(7, 6, 4), p(...window.size, 4, 5), p(5)], ...out, 5),
      rows({ kind: "convolution", window, channels: "each" }, [x(7, 6, 4), p(...window.size, 4, 1)], ...out, 4),
      rows({ kind: "convolution", window, channels: "all" }, [x(7, 6, 4), p(...window.size, 4, 1)], ...out, 1),
    ]),
  ],
  convolutionInputGradient: [
    rows(
      { kind: "convolutionInputGradient", window: { size: [3, 3], strides: [2, 1], padding: around }, channels: "all" },
      [x(1, 1, 5), p(3, 3, 4, 5)],
      1,
      1,
      4,
    ),
    rows(
      { kind: "convolutionInputGradient", window: { size: [3, 2], strides: [2, 2], padding: none }, channels: "all" },
      [x(1, 1, 5), p(3, 2, 4, 5)],
      4,
      2,
      4,
    ),
    ...everyWindow((window, out) => [
      rows({ kind: "convolutionInputGradient", window, channels: "all" }, [x(...out, 5), p(...window.size, 4, 5)], 7, 6, 4),
      rows({ kind: "convolutionInputGradient", window, channels: "each" }, [x(...out, 4), p(...window.size, 4, 1)], 7, 6, 4),
    ]),
  ],
  convolutionKernelGradient: everyWindow((window, out) => [
    tensor({ kind: "convolutionKernelGradient", window, channels: "all" }, [x(7, 6, 4), x(...out, 5)], ...window.size, 4, 5),
    tensor({ kind: "convolutionKernelGradient", window, channels: "all" }, [x(7, 6, 20), x(...out, 5)], ...window.size, 20, 5),
    tensor({ kind: "convolutionKernelGradient", window, channels: "each" }, [x(7, 6, 4), x(...out, 4)], ...window.size, 4, 1),
  ]),
  product: [rows({ kind: "product" }, [x(6), p(6, 5), p(5)], 5), rows({ kind: "product" }, [x(6), p(6, 40)], 40)],
  productInputGradient: [rows({ kind: "productInputGradient" }, [x(5), p(6, 5)], 6)],
  productKernelGradient: [
    tensor({ kind: "productKernelGradient" }, [x(6), x(5)], 6, 5),
    tensor({ kind: "productKernelGradient" }, [x(30), x(3)], 30, 3),
    tensor({ kind: "productKernelGradient" }, [x(30), x(1)], 30, 1),
  ],
  sumOverRows: [tensor({ kind: "sumOverRows" }, [x(5)], 5), tensor({ kind: "sumOverRows" }, [x(3, 4, 5)], 5)],
  dotOverRows: [
    tensor({ kind: "dotOverRows" }, [x(5), x(5)], 5),
    tensor({ kind: "dotOverRows" }, [x(3, 4, 5), x(3, 4, 5)], 5),
    tensor({ kind: "dotOverRows" }, [x(3, 4, 5), x(3, 4, 5), p(5)], 5),
    tensor({ kind: "dotOverRows" }, [x(5), x(5), summed(5)], 5),
  ],
  meanOfSum: [
    tensor({ kind: "meanOfSum", places: 1 }, [p(5)], 5),
    tensor({ kind: "meanOfSum", places: 12 }, [{ shape: [3, 4, 5], rows: false, through: { kind: "sumOverRows" } }], 5),
  ],
  varianceOverRows: [
    tensor({ kind: "varianceOverRows" }, [x(5), p(5)], 5),
    tensor({ kind: "varianceOverRows" }, [x(3, 4, 5), p(5)], 5),
    tensor({ kind: "varianceOverRows" }, [x(3, 4, 5), summed(3, 4, 5)], 5),
  ],
  countedRows: elementwise({ kind: "countedRows" }),
  scaleChannels: [
    rows({ kind: "scaleChannels" }, [x(5), p(5), p(5)], 5),
    rows({ kind: "scaleChannels" }, [x(3, 4, 5), p(5), p(5)], 3, 4, 5),
    rows({ kind: "scaleChannels" }, [x(3, 4, 5), p(5)], 3, 4, 5),
  ],
  addScaled: [
    rows({ kind: "addScaled" }, [x(5), x(5), p(5), p(5)], 5),
    rows({ kind: "addScaled" }, [x(3, 4, 5), x(3, 4, 5), p(5), p(5)], 3, 4, 5),
  ],
  relu: elementwise({ kind: "relu" }),
  relu6: elementwise({ kind: "relu6" }),
  sigmoid: elementwise({ kind: "sigmoid" }),
  softmax: elementwise({ kind: "softmax" }),
  reluGradient: gradientOf({ kind: "reluGradient" }, { kind: "relu" }),
  relu6Gradient: gradientOf({ kind: "relu6Gradient" }, { kind: "relu6" }),
  sigmoidGradient: gradientOf({ kind: "sigmoidGradient" }, { kind: "sigmoid" }),
  softmaxGradient: gradientOf({ kind: "softmaxGradient" }, { kind: "softmax" }),
  add: [
    rows({ kind: "add" }, [x(5), x(5)], 5),
    rows({ kind: "add" }, [x(2, 3, 4), after({ kind: "pad", padding: none }, 2, 3, 4)], 2, 3, 4),
  ],
  multiply: [rows({ kind: "multiply" }, [x(5), x(5)], 5), rows({ kind: "multiply" }, [x(2, 3, 4), x(2, 3, 4)], 2, 3, 4)],
  concat: [rows({ kind: "concat" }, [x(5), x(3)], 8), rows({ kind: "concat" }, [x(2, 3, 4), x(2, 3, 1), x(2, 3, 2)], 2, 3, 7)],
  channels: [rows({ kind: "channels", first: 2 }, [x(5)], 2), rows({ kind: "channels", first: 1 }, [x(2, 3, 4)], 2, 3, 3)],
  reshape: [
    rows({ kind: "reshape" }, [x(2, 3, 4)], 24),
    rows({ kind: "reshape" }, [x(24)], 2, 3, 4),
    rows({ kind: "reshape" }, [after({ kind: "pad", padding: none }, 2, 3, 4)], 24),
  ],
  pad: [rows({ kind: "pad", padding: uneven }, [x(2, 3, 4)], 3, 5, 4), rows({ kind: "pad", padding: none }, [x(2, 3, 4)], 2, 3, 4)],
  crop: [rows({ kind: "crop", padding: uneven }, [x(3, 5, 4)], 2, 3, 4)],
  maxPool: everyWindow((window, out) => [rows({ kind: "maxPool", window }, [x(7, 6, 3)], ...out, 3)]),
  averagePool: everyWindow((window, out) => [rows({ kind: "averagePool", window }, [x(7, 6, 3)], ...out, 3)]),
  maxPoolGradient: everyWindow((window, out) => [
    rows({ kind: "maxPoolGradient", window }, [x(...out, 3), x(7, 6, 3), x(...out, 3)], 7, 6, 3),
    // Many equal values: the first has it all.
    rows({ kind: "maxPoolGradient", window }, [x(...out, 3), after({ kind: "relu" }, 7, 6, 3), x(...out, 3)], 7, 6, 3),
  ]),
  averagePoolGradient: everyWindow((window, out) => [rows({ kind: "averagePoolGradient", window }, [x(...out, 3)], 7, 6, 3)]),
  globalAveragePool: [rows({ kind: "globalAveragePool" }, [x(3, 4, 5)], 5)],
  globalAveragePoolGradient: [rows({ kind: "globalAveragePoolGradient" }, [x(5)], 3, 4, 5)],
  inverseRoot: [tensor({ kind: "inverseRoot", epsilon: 20 }, [p(5)], 5), tensor({ kind: "inverseRoot", epsilon: 80 }, [summed(5)], 5)],
  parameterProduct: [tensor({ kind: "parameterProduct" }, [p(5), p(5)], 5), tensor({ kind: "parameterProduct" }, [summed(5), p(5)], 5)],
  parameterSum: [tensor({ kind: "parameterSum" }, [p(5), p(5)], 5), tensor({ kind: "parameterSum" }, [p(5), summed(5)], 5)],
  parameterDifference: [
    tensor({ kind: "parameterDifference" }, [p(5), p(5)], 5),
    tensor({ kind: "parameterDifference" }, [p(5), summed(2, 2, 5)], 5),
  ],
  negative: [tensor({ kind: "negative" }, [p(5)], 5), tensor({ kind: "negative" }, [summed(5)], 5)],
  scaleKernel: [
    tensor({ kind: "scaleKernel", channels: "all" }, [p(3, 2, 4, 5), p(5)], 3, 2, 4, 5),
    tensor({ kind: "scaleKernel", channels: "all" }, [p(4, 5), p(5)], 4, 5),
    tensor({ kind: "scaleKernel", channels: "each" }, [p(3, 2, 4, 1), p(4)], 3, 2, 4, 1),
    tensor({ kind: "scaleKernel", channels: "each" }, [p(3, 2, 4, 1), summed(4)], 3, 2, 4, 1),
  ],
  dotKernels: [
    tensor({ kind: "dotKernels", channels: "all" }, [p(3, 2, 4, 5), p(3, 2, 4, 5)], 5),
    tensor({ kind: "dotKernels", channels: "all" }, [p(4, 5), p(4, 5)], 5),
    tensor({ kind: "dotKernels", channels: "each" }, [p(3, 2, 4, 1), p(3, 2, 4, 1)], 4),
  ],
};

/** Operands that enter as masks and parameters, and the operation last. */
function programOf({ primitive, operands, shape, rows: hasRows }: Case): GradientProgram {
  const operations: Operation[] = [];
  const push = (each: Primitive, of: readonly Value[], result: Omit<Value, "id">): Value => {
    const value = { ...result, id: operations.length };
    operations.push({ primitive: each, operands: of, result: value, layer: "" });
    return value;
  };
  const values = operands.map((operand, i) => {
    const isSum = operand.through?.kind === "sumOverRows";
    const enters: Primitive = operand.rows || isSum ? { kind: "mask", layer: `${i}` } : { kind: "parameter", name: `${i}` };
    const value = push(enters, [], { shape: operand.shape, hasRows: operand.rows || isSum });
    if (operand.through === undefined) return value;
    return push(operand.through, [value], isSum ? { shape: operand.shape.slice(-1), hasRows: false } : value);
  });
  const output = push(primitive, values, { shape, hasRows });
  const nothing = { activations: new Map(), gradients: new Map(), moments: new Map() };
  return { name: primitive.kind, operations, forward: operations.length, output, ...nothing };
}

describe.each(Object.entries(cases))("%s is what the interpreter in float64 says", (_, ofKind) => {
  test.each(ofKind.map((each) => [JSON.stringify([each.primitive, ...each.operands.map(({ shape }) => shape)]), each] as const))(
    "%s",
    async (__, each) => {
      const program = programOf(each);
      // Values of one grain alone may be combined with rows, which one grain alone can have.
      const mixes = each.rows && each.operands.some(({ through }) => through?.kind === "sumOverRows");
      const grains = mixes ? 1 : 2;
      const options = { grains, grainRows, loss: { kind: "softmax", labelSmoothing: 0 }, productColumns: 16 } as const;
      const walk = new Walk(program, program.operations, [program.output], portableLowering, options);
      walk.run(program.operations);
      const name = program.output.hasRows ? walk.as(program.output, "plain") : walk.sumOfGrains(program.output);
      const dims = [...(program.output.hasRows ? [grains * grainRows] : []), ...each.shape];
      walk.graph.output(walk.graph.node("Identity", [name], {}, "result"), "float32", dims);

      const runtime = await loadRuntime();
      const session = await createSession(runtime, walk.graph.encode("test"), 1, { graphOptimizationLevel: "disabled" });
      const inputs = new Map(
        program.operations.flatMap(({ primitive, result }, i) => {
          if (primitive.kind !== "mask" && primitive.kind !== "parameter") return [];
          const length = elementCount(result.shape) * (result.hasRows ? grains * grainRows : 1);
          const key = primitive.kind === "mask" ? `${primitive.layer}/mask` : primitive.name;
          return [[key, { data: randoms(length, 40 + i).map((value) => 8 * value), result }] as const];
        }),
      );
      const feeds = [...inputs].map(([key, { data, result }]) => [
        key,
        new runtime.Tensor("float32", data, [...(result.hasRows ? [grains * grainRows] : []), ...result.shape]),
      ]);
      const { result } = await session.run(Object.fromEntries(feeds) as Parameters<typeof session.run>[0]);
      await session.release();

      const ofGrain = (grain: number): Float64Array => {
        const part = ({ data, result: of }: { readonly data: Float32Array; readonly result: Value }): Float32Array =>
          of.hasRows ? data.subarray((grain * data.length) / grains, ((grain + 1) * data.length) / grains) : data;
        const entries = [...inputs].map(([key, input]) => [key.replace("/mask", ""), part(input)] as const);
        const tensors = new Map(entries.map(([key, data]) => [key, { data }]));
        const values = evaluateProgram(program, { rows: grainRows, features: [], tensors, masks: new Map(entries) });
        return values[program.output.id] as Float64Array;
      };
      const parts = Array.from({ length: grains }, (___, grain) => ofGrain(grain));
      const [first] = parts as [Float64Array];
      const expected = program.output.hasRows
        ? parts.flatMap((part) => [...part])
        : walk.isByGrain(program.output)
          ? first.map((value, i) => parts.slice(1).reduce((sum, part) => sum + (part[i] as number), value))
          : first;
      expect(result?.dims).toEqual(dims);
      expectClose(result?.data as Float32Array, expected, 3e-6, "result");
    },
  );
});
