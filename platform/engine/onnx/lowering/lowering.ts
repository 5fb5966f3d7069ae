import type { Primitive, PrimitiveKind, Value, Operation } from "../../../../domain/network/gradient/program.js";
import type { GraphBuilder } from "../../../../formats/onnx/graph-builder.js";
import type { Walk } from "./walk.js";

/**
 * How a value lies in memory. Rows, where there are any, are the first axis in every layout, so that a grain is a part of a tensor's first axis.
 *
 *   plain    as the program has it: `[rows, ...shape]` (pictures are NHWC), or `[...shape]` without rows. What enters a graph and leaves it is plain
 *   nchw     pictures with channels before height and width
 *   turned   a matrix without rows, transposed
 *   blocked  pictures as the CPU's convolutions want them: `[rows, C', h, w]`, C' the channels filled up with channels of no meaning to whole blocks of B, in the order `[rows, C' / B, h, w, B]`
 *
 * A lowering uses those that it likes; one that needs another adds it here.
 */
export type Layout = "plain" | "nchw" | "turned" | "blocked";

export type PrimitiveOf<Kind extends PrimitiveKind> = Primitive extends infer Each
  ? Each extends { readonly kind: infer Kinds }
    ? Kind extends Kinds
      ? Each & { readonly kind: Kind }
      : never
    : never
  : never;

export type OperationOf<Kind extends PrimitiveKind> = Operation & { readonly primitive: PrimitiveOf<Kind> };

/** Adds the nodes of one operation to `walk.graph` and gives its result to `walk.give`, `walk.giveGrains` or `walk.giveStack`. */
export type Emitter<Kind extends PrimitiveKind> = (walk: Walk, operation: OperationOf<Kind>) => void;

export type Emitters<Kind extends PrimitiveKind = PrimitiveKind> = { readonly [Each in Kind]: Emitter<Each> };

/**
 * A way to write a gradient program as an ONNX graph: an emitter for each primitive operation, and how values get from one layout to another.
 *
 * To make another lowering: write an object of this type in a folder beside `portable/`.
 *  - Take `commonEmitters` (common-emitters.ts) for what does not depend on layouts: what enters, the loss, products, arithmetic on tensors without rows, shapes.
 *    Then the compiler names the kinds that are left: for these, write emitters; take those of `portable/` where they are good enough.
 *  - An emitter asks for its operands in the layout that it wants, `walk.as(value, layout)`, or grain by grain, `walk.part(value, layout, grain)`, and gives its result in the layout that it has.
 *    Layouts that a value does not have yet are made by `convert`, once.
 *  - What is derived from a value in another way, as a kernel whose taps are turned round, is made once by `walk.derived(value, name, make)`.
 *  - An emitter that joins operations (a convolution and the relu after it) looks at `walk.usesOf` and `walk.leaves`, and gives the results of both: the walk leaves out operations whose result is there.
 *  - Sums over the rows of a grain have one part a grain: the operation is run for each, over tensors of one grain's shape, so that no bit depends on how many grains share a call.
 *    `giveGrains` takes a function that makes a part when it is asked for. Nobody but `walk.sumOfGrains` adds parts.
 */
export interface Lowering {
  readonly name: string;
  readonly emitters: Emitters;
  /** Adds the nodes that bring `name`, which holds `rows` rows of the value (or has none), from one layout to another. */
  readonly convert: (graph: GraphBuilder, value: Value, name: string, rows: number, from: Layout, to: Layout) => string;
}
