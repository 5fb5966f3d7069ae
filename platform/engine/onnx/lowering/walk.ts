import { strict as assert } from "node:assert";
import type { GradientProgram, Operation, PrimitiveKind, Value } from "../../../../domain/network/gradient/program.js";
import type { Preprocessing } from "../../../../domain/network/preprocessing.js";
import type { LossSpec } from "../../../../domain/training/loss.js";
import { GraphBuilder } from "../../../../formats/onnx/graph-builder.js";
import type { GradientShape } from "../../engine.js";
import type { Emitter, Layout, Lowering } from "./lowering.js";

/** What a graph depends on besides its program. */
export interface GraphOptions extends GradientShape {
  readonly loss: LossSpec;
  readonly preprocessing?: Preprocessing | undefined;
  /** Dense products have at least so many columns, see `columnsFor`. */
  readonly productColumns: number;
}

/** A value that each grain has for itself: sums over its rows, and what is computed from these. */
export interface GrainParts {
  /** Adds the nodes of one grain; asked once for each. */
  readonly part: (grain: number) => string;
  /** Adds the nodes of the sum of grains `first` and `first` + 1, where that is one node less. It has the bits of the two parts added. */
  readonly pair?: (first: number) => string;
}

/** What one value is called in the graph, in one layout. */
interface Names {
  whole?: string;
  readonly parts: Map<number, string>;
  ofGrains?: GrainParts;
}

/** Writes the operations of a program into a graph, one after another, and knows which values stand there in which layout. */
export class Walk {
  readonly graph = new GraphBuilder();
  readonly program: GradientProgram;
  readonly options: GraphOptions;
  /** All rows of the call. */
  readonly rows: number;
  readonly #lowering: Lowering;
  readonly #names = new Map<number, Map<Layout, Names>>();
  readonly #stacks = new Map<number, string>();
  readonly #derived = new Map<string, string>();
  readonly #uses = new Map<number, Operation[]>();
  readonly #leaves: ReadonlySet<number>;
  readonly #leftOut = new Set<number>();
  /** Values without rows that each grain has for itself. */
  readonly #byGrain = new Set<number>();

  /** `leaves` are the values that are asked for when the walk is over. */
  constructor(
    program: GradientProgram,
    operations: readonly Operation[],
    leaves: Iterable<Value>,
    lowering: Lowering,
    options: GraphOptions,
  ) {
    this.program = program;
    this.options = options;
    this.rows = options.grains * options.grainRows;
    this.#lowering = lowering;
    this.#leaves = new Set([...leaves].map(({ id }) => id));
    for (const operation of operations) {
      const { operands, result } = operation;
      for (const { id } of new Set(operands)) {
        const uses = this.#uses.get(id);
        if (uses === undefined) this.#uses.set(id, [operation]);
        else uses.push(operation);
      }
      if (!result.hasRows && operands.some((operand) => operand.hasRows || this.#byGrain.has(operand.id))) this.#byGrain.add(result.id);
    }
  }

  /** Emits operations in their order. */
  run(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (this.#names.has(operation.result.id) || this.#leftOut.has(operation.result.id)) continue;
      const emit = this.#lowering.emitters[operation.primitive.kind] as Emitter<PrimitiveKind>;
      emit(this, operation);
    }
  }

  // What values are called.

  /** The value's name in a layout: of all rows, or of a tensor that all grains share. */
  as(value: Value, layout: Layout): string {
    const names = this.#namesOf(value, layout);
    if (names.whole !== undefined) return names.whole;
    if (this.isByGrain(value)) {
      assert(this.options.grains === 1, `value ${value.id} of ${this.program.name} is another for each grain`);
      return (names.whole = this.part(value, layout, 0));
    }
    const [from, { whole }] = this.#known(value, (each) => each.whole !== undefined);
    assert(whole !== undefined);
    return (names.whole = this.#lowering.convert(this.graph, value, whole, this.rows, from, layout));
  }

  /** The name of a grain's part: of its rows, or of its own tensor; what all grains share is every grain's part. */
  part(value: Value, layout: Layout, grain: number): string {
    const byGrain = this.isByGrain(value);
    if (!byGrain && (!value.hasRows || this.options.grains === 1)) return this.as(value, layout);
    const { parts } = this.#namesOf(value, layout);
    const known = parts.get(grain);
    if (known !== undefined) return known;
    if (!byGrain) this.#split(value, layout, parts);
    else parts.set(grain, this.#makePart(value, layout, grain));
    return parts.get(grain) as string;
  }

  /** The sum of all grains' parts, plain, along the tree (domain/training/tree.ts). */
  sumOfGrains(value: Value): string {
    const { grains } = this.options;
    if (!this.isByGrain(value) || grains === 1) return this.as(value, "plain");
    const [layout, { ofGrains }] = this.#known(value, (each) => each.ofGrains !== undefined);
    const sum = (first: number, count: number): string => {
      if (count === 1) return this.part(value, layout, first);
      if (count === 2 && ofGrains?.pair) return ofGrains.pair(first);
      return this.graph.node("Add", [sum(first, count / 2), sum(first + count / 2, count / 2)]);
    };
    const total = sum(0, grains);
    return layout === "plain" ? total : this.#lowering.convert(this.graph, value, total, 0, layout, "plain");
  }

  /** `[grains, 1, ...shape]`, where the value was given so. */
  stackOf(value: Value): string | undefined {
    return this.#stacks.get(value.id);
  }

  // What emitters give.

  give(value: Value, layout: Layout, name: string): void {
    this.#namesOf(value, layout).whole = name;
  }

  /** The value is another one, in every layout. */
  giveAs(value: Value, other: Value): void {
    const layouts = this.#names.get(other.id);
    assert(layouts !== undefined);
    this.#names.set(value.id, layouts);
  }

  /** The value is not computed: who would ask for it has been joined with the operation before it. */
  leaveOut(value: Value): void {
    this.#leftOut.add(value.id);
  }

  giveGrains(value: Value, layout: Layout, parts: GrainParts): void {
    this.#namesOf(value, layout).ofGrains = parts;
  }

  /** All grains' tensors as one, `[grains, 1, ...shape]`. */
  giveStack(value: Value, name: string): void {
    this.#stacks.set(value.id, name);
    let split: readonly string[] | undefined;
    const part = (grain: number): string => {
      split ??= this.#splitEvenly(name, this.options.grains, 1);
      return this.graph.node("Reshape", [split[grain] as string, this.graph.integers(value.shape)]);
    };
    this.giveGrains(value, "plain", { part });
  }

  /** A tensor derived from a value in a way of the caller's, made once for each `how`. */
  derived(value: Value, how: string, make: () => string): string {
    const key = `${value.id}/${how}`;
    const known = this.#derived.get(key);
    if (known !== undefined) return known;
    const name = make();
    this.#derived.set(key, name);
    return name;
  }

  // What is known of the program.

  /** Whether each grain has a tensor of its own: the value has no rows, but depends on some. */
  isByGrain(value: Value): boolean {
    return this.#byGrain.has(value.id);
  }

  has(value: Value, layout: Layout): boolean {
    return this.#names.get(value.id)?.get(layout)?.whole !== undefined;
  }

  usesOf(value: Value): readonly Operation[] {
    return this.#uses.get(value.id) ?? [];
  }

  /** Whether the value is asked for when the walk is over. */
  leaves(value: Value): boolean {
    return this.#leaves.has(value.id);
  }

  operationOf(value: Value): Operation {
    const operation = this.program.operations[value.id];
    assert(operation !== undefined);
    return operation;
  }

  #namesOf(value: Value, layout: Layout): Names {
    let layouts = this.#names.get(value.id);
    if (layouts === undefined) this.#names.set(value.id, (layouts = new Map<Layout, Names>()));
    let names = layouts.get(layout);
    if (names === undefined) layouts.set(layout, (names = { parts: new Map() }));
    return names;
  }

  #known(value: Value, holds: (names: Names) => boolean): readonly [Layout, Names] {
    const found = [...(this.#names.get(value.id) ?? [])].find(([, names]) => holds(names));
    assert(found !== undefined, `value ${value.id} of ${this.program.name} is not there yet`);
    return found;
  }

  #makePart(value: Value, layout: Layout, grain: number): string {
    const own = this.#namesOf(value, layout).ofGrains;
    if (own) return own.part(grain);
    const [from] = this.#known(value, ({ ofGrains }) => ofGrains !== undefined);
    return this.#lowering.convert(this.graph, value, this.part(value, from, grain), 0, from, layout);
  }

  /** Parts of a tensor with rows. Those of what enters come as inputs of their own, views of the same memory; a reshaped tensor's are its operand's, reshaped: neither is copied. */
  #split(value: Value, layout: Layout, parts: Map<number, string>): void {
    const { grains, grainRows, preprocessing } = this.options;
    const { primitive, operands } = this.operationOf(value);
    const [operand] = operands;
    const names = (): string[] => {
      if (layout === "plain" && primitive.kind === "features" && preprocessing === undefined)
        return Array.from({ length: grains }, (_, grain) => this.graph.input(grainInput(grain), "float32", [grainRows, ...value.shape]));
      if (layout === "plain" && primitive.kind === "reshape" && operand !== undefined) {
        const shape = this.graph.integers([grainRows, ...value.shape]);
        return Array.from({ length: grains }, (_, grain) => this.graph.node("Reshape", [this.part(operand, "plain", grain), shape]));
      }
      return this.#splitEvenly(this.as(value, layout), grains, grainRows);
    };
    names().forEach((name, grain) => parts.set(grain, name));
  }

  /** A tensor with all rows of the call, divided into those of each grain. */
  splitRows(name: string): readonly string[] {
    return this.#splitEvenly(name, this.options.grains, this.options.grainRows);
  }

  #splitEvenly(name: string, count: number, length: number): string[] {
    if (count === 1) return [name];
    const parts = Array.from({ length: count }, (_, i) => `${name}/${i}`);
    this.graph.nodeWithOutputs("Split", [name, this.graph.integers(parts.map(() => length))], parts, { axis: { int: 0 } });
    return parts;
  }
}

/** The name of the input that holds the features of one grain; a view of `features`, so that no slice is copied. */
export function grainInput(grain: number): string {
  return `features/${grain}`;
}
