import { strict as assert } from "node:assert";
import type { GradientProgram, Primitive, Value } from "../../../../domain/network/gradient/program.js";
import type { Shape } from "../../../../domain/network/network.js";
import { sentinel } from "../run-without-copies.js";
import type { Lowering } from "./lowering.js";
import { encodeRowLosses } from "./loss.js";
import { type GraphOptions, Walk } from "./walk.js";

/** An output with the gradient of a parameter or the moments of a batch norm. */
export interface GraphResult {
  /** The tensor in a parameter's or statistic's place: `LAYER/kernel`, `LAYER/moving_mean` and so on. */
  readonly tensor: string;
  readonly output: string;
  readonly dimensions: readonly number[];
  /** The output is `[grains, 1, ...shape]`, still to be added along the tree; else the sum. */
  readonly isStack: boolean;
}

/** A gradient that is held back: of a dense kernel, x^T dy with x `[rows, in]` and dy `[rows, units]`. */
export interface HeldProduct {
  /** The kernel. */
  readonly tensor: string;
  /** The output that holds x; undefined where the features as they are fed are x. */
  readonly x: string | undefined;
  /** The output that holds dy. */
  readonly dy: string;
  readonly rows: number;
  /** `[in, units]` */
  readonly shape: Shape;
}

export interface GradientGraph {
  readonly model: Uint8Array;
  /** What of the graph parameters and statistics alone decide, where it stands apart: the model takes `crossing` as inputs. */
  readonly preparation?: { readonly model: Uint8Array; readonly crossing: readonly string[] } | undefined;
  readonly gradients: readonly GraphResult[];
  readonly moments: readonly GraphResult[];
  readonly held: readonly HeldProduct[];
}

/**
 * Forward and backward pass over the rows of a call, R = grains x grainRows, one grain's after another's.
 *
 *   inputs   features [R, ...shape], features/g [grainRows, ...shape] where a product takes a grain by itself, parameters and statistics by name, LAYER/mask [R, ...shape], targets [R, columns], rowWeights [R, 1]
 *   outputs  sentinel (sequence; run-without-copies.ts), rowLoss [R, 1], predicted [R], and those named in the result
 *
 * With moments there can be one grain only, and all its rows count. The gradients of `held`, kernels of dense layers, are left to somebody else, who gets what they are products of.
 * `isDivided`: what is the same for all calls with one state of the parameters stands apart.
 */
export function lowerGradient(
  program: GradientProgram,
  lowering: Lowering,
  options: GraphOptions,
  held: readonly string[] = [],
  isDivided = false,
): GradientGraph {
  const moments = [...program.moments].flatMap(([layer, { mean, variance }]): (readonly [string, Value])[] => [
    [`${layer}/moving_mean`, mean],
    [`${layer}/moving_variance`, variance],
  ]);
  assert(moments.length === 0 || options.grains === 1, "statistics of the batch are those of one grain");
  const given = [...program.gradients].filter(([tensor]) => !held.includes(tensor));
  const products = held.map((tensor) => ({ tensor, ...productOf(program, tensor) }));
  const leaves = [...[...given, ...moments].map(([, value]) => value), ...products.flatMap(({ x, dy }) => [x, dy])];
  const walk = new Walk(program, program.operations, leaves, lowering, options);
  const { graph } = walk;
  // The first output: see run-without-copies.ts.
  graph.sequenceOutput(sentinel, "float32");
  walk.run(program.operations);

  const taken = new Set<string>();
  const outputOf = (name: string, dimensions: readonly number[]): string => {
    const output = taken.has(name) ? graph.node("Identity", [name]) : name;
    taken.add(output);
    graph.output(output, "float32", dimensions);
    return output;
  };
  const resultOf = ([tensor, value]: readonly [string, Value]): GraphResult => {
    const stack = walk.stackOf(value);
    const dimensions = stack === undefined ? value.shape : [options.grains, 1, ...value.shape];
    return { tensor, output: outputOf(stack ?? walk.sumOfGrains(value), dimensions), dimensions, isStack: stack !== undefined };
  };
  const heldOf = ({ tensor, x, dy, shape }: (typeof products)[number]): HeldProduct => {
    const isFed = options.preprocessing === undefined && isReshaped(program, x);
    // No value may be an output that is an input.
    const own = (value: Value): string => outputOf(graph.node("Identity", [walk.as(value, "plain")]), [walk.rows, ...value.shape]);
    return { tensor, x: isFed ? undefined : own(x), dy: own(dy), rows: walk.rows, shape };
  };
  const results = { gradients: given.map(resultOf), moments: moments.map(resultOf), held: products.map(heldOf) };
  graph.nodeWithOutputs("SequenceConstruct", ["rowLoss"], [sentinel]);
  const name = `gradient of ${program.name}`;
  if (!isDivided) return { model: graph.encode(name), ...results };
  const tensors = new Set(program.operations.flatMap(({ primitive }) => (isTensorThatEnters(primitive) ? [primitive.name] : [])));
  const { early, late, crossing } = graph.encodeDivided(name, sentinel, (input) => tensors.has(input));
  return { model: late, preparation: { model: early, crossing }, ...results };
}

function isTensorThatEnters(primitive: Primitive): primitive is Extract<Primitive, { readonly kind: "parameter" | "statistic" }> {
  return primitive.kind === "parameter" || primitive.kind === "statistic";
}

/** The two factors of a dense kernel's gradient. */
function productOf(program: GradientProgram, tensor: string): { readonly x: Value; readonly dy: Value; readonly shape: Shape } {
  const gradient = program.gradients.get(tensor);
  const operation = gradient && program.operations[gradient.id];
  assert(operation?.primitive.kind === "productKernelGradient", `the gradient of ${tensor} is no product`);
  const [x, dy] = operation.operands;
  assert(x && dy);
  return { x, dy, shape: operation.result.shape };
}

/** Whether a value is the features, in another shape at most. */
function isReshaped(program: GradientProgram, value: Value): boolean {
  const operation = program.operations[value.id];
  const [operand] = operation?.operands ?? [];
  return (
    operation?.primitive.kind === "features" ||
    (operation?.primitive.kind === "reshape" && operand !== undefined && isReshaped(program, operand))
  );
}

export interface EvaluationGraph {
  readonly model: Uint8Array;
  /** The outputs by the names of layers; empty where activations were not asked for. */
  readonly activations: ReadonlyMap<string, string>;
}

/** The forward pass; outputs `rowLoss`, `predicted`, `logits`, or the activations of layers. */
export function lowerEvaluation(
  program: GradientProgram,
  lowering: Lowering,
  options: GraphOptions,
  shown: readonly string[],
): EvaluationGraph {
  const operations = program.operations.slice(0, program.forward);
  const values = shown.map((layer): readonly [string, Value] => {
    const value = program.activations.get(layer);
    assert(value !== undefined, `no activation of ${layer}`);
    return [layer, value];
  });
  const walk = new Walk(program, operations, [program.output, ...values.map(([, value]) => value)], lowering, options);
  const { graph, rows } = walk;
  walk.run(operations);

  const logits = walk.as(program.output, "plain");
  const [classes = 0] = program.output.shape;
  encodeRowLosses(graph, logits, rows, options.loss.kind === "sigmoid" ? 2 : classes, options.loss);
  graph.node("Identity", [logits], {}, "logits");
  graph.output("logits", "float32", [rows, classes]);
  const activations = new Map(
    values.map(([layer, value]) => {
      const output = graph.node("Identity", [walk.as(value, "plain")], {}, `activation/${layer}`);
      graph.output(output, "float32", [rows, ...value.shape]);
      return [layer, output];
    }),
  );
  return { model: graph.encode(`evaluation of ${program.name}`), activations };
}
