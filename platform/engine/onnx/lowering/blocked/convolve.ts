import type { Value, Window } from "../../../../../domain/network/gradient/program.js";
import type { Pair } from "../../../../../domain/network/network.js";
import type { Attribute, GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import { windowAttributes } from "../portable/windows.js";
import type { Walk } from "../walk.js";
import { nchwcDomain } from "./layouts.js";

/** activation(convolution of x + bias + sum), all blocked. */
export interface BlockedConvolution {
  readonly x: string;
  readonly filter: string;
  readonly bias?: string | undefined;
  readonly sum?: string | undefined;
  readonly window: Window;
  readonly dilations?: Pair;
  readonly groups?: number;
  readonly activation?: Activation | undefined;
}

/** `isNegative`: 1 or 0, but for numbers of less than 1e-30. */
export type Activation = "relu" | "relu6" | "isNegative";

const activationAttributes: Readonly<Record<Activation, Record<string, Attribute>>> = {
  relu: { activation: { string: "Relu" } },
  relu6: { activation: { string: "Clip" }, activation_params: { floats: [0, 6] } },
  isNegative: { activation: { string: "HardSigmoid" }, activation_params: { floats: [-1e30, 0] } },
};

export const point: Window = { size: [1, 1], strides: [1, 1], padding: { top: 0, bottom: 0, left: 0, right: 0 } };

/** Whether a window sees just the place that it stands at. */
export function isPoint({ size, strides, padding: { top, bottom, left, right } }: Window): boolean {
  return Math.max(...size, ...strides) === 1 && Math.max(top, bottom, left, right) === 0;
}

export function convolve(graph: GraphBuilder, convolution: BlockedConvolution): string {
  const { x, filter, bias, sum, window, dilations = [1, 1], groups = 1, activation } = convolution;
  const operands = [x, filter, ...(bias !== undefined || sum !== undefined ? [bias ?? ""] : []), ...(sum !== undefined ? [sum] : [])];
  const attributes = {
    ...windowAttributes(window),
    dilations: { ints: dilations },
    group: { int: groups },
    ...(activation && activationAttributes[activation]),
  };
  return graph.node("Conv", operands, attributes, undefined, nchwcDomain);
}

/** What comes after a convolution and can be computed with it: an addition to what is there already, then an activation. */
export interface Joined {
  /** What the convolution then gives. */
  readonly result: Value;
  readonly sum?: string | undefined;
  readonly activation?: Activation | undefined;
}

/**
 * Operations are joined where nobody else asks for the values between them. Additions only on the way to gradients: they round otherwise when joined, and an evaluation has the same bits
 * whether the activations of layers are asked for or not.
 */
export function joined(walk: Walk, value: Value, activations: readonly ("relu" | "relu6")[] = ["relu", "relu6"]): Joined {
  let result = value;
  let sum: string | undefined;
  const addition = onlyUse(walk, result);
  if (addition?.primitive.kind === "add" && walk.program.gradients.size > 0) {
    const other = addition.operands.find((operand) => operand !== result);
    if (other && walk.has(other, "blocked")) {
      sum = walk.as(other, "blocked");
      result = addition.result;
    }
  }
  const after = onlyUse(walk, result);
  const activation = activations.find((kind) => kind === after?.primitive.kind);
  if (activation) walk.leaveOut(result);
  return after && activation ? { result: after.result, sum, activation } : { result, sum };
}

function onlyUse(walk: Walk, value: Value): ReturnType<Walk["operationOf"]> | undefined {
  const uses = walk.usesOf(value);
  return uses.length === 1 && !walk.leaves(value) ? uses[0] : undefined;
}
