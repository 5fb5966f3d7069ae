import { strict as assert } from "node:assert";
import type { GradientProgram, Operation, Value } from "./program.js";

/** Leaves out the operations that neither output, gradients nor moments need, and numbers the others anew. */
export function withoutDeadOperations(program: GradientProgram): GradientProgram {
  const { operations, output, activations, gradients, moments } = program;
  const needed = new Set([output.id, ...[...gradients.values()].map(({ id }) => id)]);
  for (const { mean, variance } of moments.values()) needed.add(mean.id).add(variance.id);
  for (const { primitive, operands, result } of [...operations].reverse()) {
    if (primitive.kind === "outputGradient") needed.add(result.id);
    if (needed.has(result.id)) for (const { id } of operands) needed.add(id);
  }
  const isNeeded = ({ result }: { readonly result: Value }): boolean => needed.has(result.id);

  const renumbered = new Map<number, Value>();
  const at = ({ id }: Value): Value => {
    const value = renumbered.get(id);
    assert(value !== undefined);
    return value;
  };
  const kept = operations.filter(isNeeded).map((operation, id): Operation => {
    const result = { ...operation.result, id };
    const operands = operation.operands.map(at);
    renumbered.set(operation.result.id, result);
    return { ...operation, operands, result };
  });
  return {
    name: program.name,
    operations: kept,
    forward: operations.slice(0, program.forward).filter(isNeeded).length,
    output: at(output),
    activations: new Map([...activations].filter(([, { id }]) => needed.has(id)).map(([layer, value]) => [layer, at(value)])),
    gradients: new Map([...gradients].map(([parameter, value]) => [parameter, at(value)])),
    moments: new Map([...moments].map(([layer, { mean, variance }]) => [layer, { mean: at(mean), variance: at(variance) }])),
  };
}
