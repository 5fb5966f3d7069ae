import { strict as assert } from "node:assert";
import type { Shape } from "../network.js";
import type { Operation, Primitive, Value } from "./program.js";

/** Shapes of a network's activations by layer, and of its parameters and statistics by name. */
export interface NetworkShapes {
  readonly layers: ReadonlyMap<string, Shape>;
  readonly weights: ReadonlyMap<string, Shape>;
}

/** Emits the operations of one layer at the end of `operations`; so operands precede their use. */
export class LayerBuilder {
  readonly name: string;
  readonly #operations: Operation[];
  readonly #shapes: NetworkShapes;

  constructor(name: string, operations: Operation[], shapes: NetworkShapes) {
    this.name = name;
    this.#operations = operations;
    this.#shapes = shapes;
  }

  /** A value `[rows, ...shape]`; the shape is by default that of the first operand. */
  activation(primitive: Primitive, operands: readonly Value[], shape = operands[0]?.shape): Value {
    return this.#emit(primitive, operands, shape, true);
  }

  /** A value `[...shape]` without rows; the shape is by default that of the first operand. */
  tensor(primitive: Primitive, operands: readonly Value[], shape = operands[0]?.shape): Value {
    return this.#emit(primitive, operands, shape, false);
  }

  /** What the layer gives, `[rows, ...its shape]`. */
  output(primitive: Primitive, operands: readonly Value[]): Value {
    return this.#emit(primitive, operands, this.#shapes.layers.get(this.name), true);
  }

  /** The layer's trained tensor of that name: `kernel` and so on. */
  parameter(name: string): Value {
    return this.#weight("parameter", `${this.name}/${name}`);
  }

  /** The layer's moving statistic of that name. */
  statistic(name: string): Value {
    return this.#weight("statistic", `${this.name}/${name}`);
  }

  // The operations on tensors without rows that rules write formulas with.

  product(a: Value, b: Value): Value {
    return this.tensor({ kind: "parameterProduct" }, [a, b]);
  }

  sum(a: Value, b: Value): Value {
    return this.tensor({ kind: "parameterSum" }, [a, b]);
  }

  difference(a: Value, b: Value): Value {
    return this.tensor({ kind: "parameterDifference" }, [a, b]);
  }

  negative(a: Value): Value {
    return this.tensor({ kind: "negative" }, [a]);
  }

  /** Sum over rows and places: one number a channel. */
  sumOverRows(x: Value): Value {
    return this.tensor({ kind: "sumOverRows" }, [x], [channelsOf(x)]);
  }

  #weight(kind: "parameter" | "statistic", name: string): Value {
    return this.tensor({ kind, name }, [], this.#shapes.weights.get(name));
  }

  #emit(primitive: Primitive, operands: readonly Value[], shape: Shape | undefined, hasRows: boolean): Value {
    assert(shape !== undefined, `${this.name}: ${primitive.kind} has no shape`);
    const result: Value = { id: this.#operations.length, shape, hasRows };
    this.#operations.push({ primitive, operands, result, layer: this.name });
    return result;
  }
}

/** The length of the last axis. */
export function channelsOf({ shape }: Value): number {
  const channels = shape.at(-1);
  assert(channels !== undefined);
  return channels;
}
