import { strict as assert } from "node:assert";
import type { Operation } from "../../../../domain/network/gradient/program.js";
import { elementCount } from "../../../../domain/network/network.js";
import type { GraphBuilder } from "../../../../formats/onnx/graph-builder.js";
import type { Emitters } from "./lowering.js";
import type { Walk } from "./walk.js";

/** Arithmetic on tensors without rows, plain: once where all grains share the operands, else for each grain. */
export const parameterEmitters: Emitters<
  "inverseRoot" | "parameterProduct" | "parameterSum" | "parameterDifference" | "negative" | "scaleKernel" | "dotKernels" | "meanOfSum"
> = {
  inverseRoot: (walk, operation) =>
    eachGrain(walk, operation, ([variance]) => {
      const { graph } = walk;
      return graph.node("Reciprocal", [graph.node("Sqrt", [graph.node("Add", [variance, graph.scalar(operation.primitive.epsilon)])])]);
    }),
  parameterProduct: (walk, operation) => eachGrain(walk, operation, (operands) => walk.graph.node("Mul", operands)),
  parameterSum: (walk, operation) => eachGrain(walk, operation, (operands) => walk.graph.node("Add", operands)),
  parameterDifference: (walk, operation) => eachGrain(walk, operation, (operands) => walk.graph.node("Sub", operands)),
  negative: (walk, operation) => eachGrain(walk, operation, (operands) => walk.graph.node("Neg", operands)),
  scaleKernel: (walk, operation) =>
    eachGrain(walk, operation, ([kernel, scale = ""]) => {
      const { graph } = walk;
      const isEach = operation.primitive.channels === "each";
      return graph.node("Mul", [kernel, isEach ? graph.node("Reshape", [scale, graph.integers([-1, 1])]) : scale]);
    }),
  dotKernels: (walk, operation) =>
    eachGrain(walk, operation, (kernels) => {
      const { graph } = walk;
      const product = graph.node("Reshape", [graph.node("Mul", kernels), graph.integers([-1, elementCount(operation.result.shape)])]);
      // The sum is compared with one that is nearly as large (folded-batch-norm.ts): what float32 rounds off in thousands of additions would be most of what is left.
      const wide = graph.node("Cast", [product], { to: { int: 11 } });
      return graph.node("Cast", [sumOverAxes(graph, wide, [0])], { to: { int: 1 } });
    }),
  meanOfSum: (walk, operation) =>
    eachGrain(walk, operation, ([sum]) =>
      walk.graph.node("Div", [sum, walk.graph.scalar(walk.options.grainRows * operation.primitive.places)]),
    ),
};

/** Emits an operation on plain tensors without rows. */
export function eachGrain(walk: Walk, { operands, result }: Operation, emit: (operands: readonly [string, ...string[]]) => string): void {
  const names = (nameOf: (operand: (typeof operands)[number]) => string): readonly [string, ...string[]] => {
    const [first, ...others] = operands.map(nameOf);
    assert(first !== undefined);
    return [first, ...others];
  };
  if (!walk.isByGrain(result)) walk.give(result, "plain", emit(names((operand) => walk.as(operand, "plain"))));
  else walk.giveGrains(result, "plain", { part: (grain) => emit(names((operand) => walk.part(operand, "plain", grain))) });
}

export function sumOverAxes(graph: GraphBuilder, value: string, axes: readonly number[]): string {
  return graph.node("ReduceSum", [value, graph.integers(axes)], { keepdims: { int: 0 } });
}
