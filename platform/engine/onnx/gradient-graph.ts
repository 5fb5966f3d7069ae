import { INPUT } from "../../../domain/network/network.js";
import type { LossSpec } from "../../../domain/training/loss.js";
import type { DenseChainLayer } from "../../../domain/training/trainable-layers.js";
import { GraphBuilder } from "../../../formats/onnx/graph-builder.js";
import type { GradientShape } from "../engine.js";
import { encodeChain, encodeRowLosses, rowsTimes, targetColumns, valueOf, type DenseChain } from "./dense-chain.js";

/** The name of the input that holds the features of one grain; a view of `features`, so that no slice is copied. */
export function grainInput(grain: number): string {
  return `features/${grain}`;
}

/** The name of the output with the gradient of a kernel, summed over all grains, and of a bias, one row a grain. */
export function gradientOutput(parameter: string): string {
  return `${parameter}/gradient`;
}

/** Longest inner dimension that the matrix product adds up in one go. */
const productBlock = 128;

/**
 * The gradient of a dense chain as a graph of stock operators. Rows are all grains' rows one after another: R = grains x grainRows.
 *
 *   inputs   features [R, features], features/g [grainRows, features], parameters by name, LAYER/mask [R, units], targets [R, columns], rowWeights [R, 1]
 *   outputs  sentinel (sequence), rowLoss [R, 1], predicted [R], KERNEL/gradient [in, units] summed along the tree, BIAS/gradient [grains, 1, units]
 *
 * Every product that sums over rows has the shape of one grain, so its bits cannot depend on how many grains share the call.
 */
export function encodeGradient(chain: DenseChain, loss: LossSpec, { grainRows, grains }: GradientShape): Uint8Array {
  const graph = new GraphBuilder();
  const rows = grains * grainRows;
  // The first output: see run-without-copies.ts.
  graph.sequenceOutput("sentinel", "float32");

  // 1. Forward.
  const values = encodeChain(graph, chain, rows, true);
  const logits = valueOf(values, chain.steps.at(-1)?.layer.name ?? INPUT);

  // 2. Loss, and the gradient of the logits: (probabilities - targets) x row weight.
  const scores = encodeRowLosses(graph, logits, rows, targetColumns(chain, loss), loss);
  const rowWeights = graph.input("rowWeights", "float32", [rows, 1]);
  const difference = graph.node("Sub", [graph.node("Softmax", [scores], { axis: { int: 1 } }), "targets"]);
  const ofScores = graph.node("Mul", [difference, rowWeights]);
  let upstream =
    loss.kind === "sigmoid" ? graph.node("Slice", [ofScores, graph.integers([1]), graph.integers([2]), graph.integers([1])]) : ofScores;

  // 3. Backward, down to the first layer that has parameters.
  const first = chain.steps.findIndex(({ layer }) => layer.kind === "dense");
  for (let i = chain.steps.length - 1; i >= first; i--) {
    const step = chain.steps[i];
    if (step === undefined) break;
    const { layer, rowsIn, rowsOut } = step;
    if (layer.kind !== "dense") {
      upstream = encodeActivationGradient(graph, layer, valueOf(values, layer.name), upstream);
      continue;
    }
    encodeParameterGradients(
      graph,
      layer,
      { input: valueOf(values, layer.inputs[0] ?? INPUT), upstream, rowsIn, rowsOut },
      { grainRows, grains },
    );
    if (i > first) upstream = rowsTimes(graph, upstream, `${layer.name}/kernel`, { columns: rowsIn, transposed: true });
  }

  graph.nodeWithOutputs("SequenceConstruct", ["rowLoss"], ["sentinel"]);
  return graph.encode(`gradient of ${chain.name}`);
}

function encodeActivationGradient(graph: GraphBuilder, layer: DenseChainLayer, output: string, upstream: string): string {
  switch (layer.kind) {
    case "relu":
      return graph.node("Mul", [upstream, graph.node("Sign", [output])]);
    case "relu6": {
      // 1 where 0 < output < 6, else 0.
      const below = graph.node("Sign", [graph.node("Sub", [graph.scalar(6), output])]);
      return graph.node("Mul", [upstream, graph.node("Mul", [graph.node("Sign", [output]), below])]);
    }
    case "sigmoid": {
      const slope = graph.node("Mul", [output, graph.node("Sub", [graph.scalar(1), output])]);
      return graph.node("Mul", [upstream, slope]);
    }
    case "dropout":
      return graph.node("Mul", [upstream, `${layer.name}/mask`]);
    case "flatten":
    case "dense":
      return upstream;
  }
}

interface DenseOperands {
  /** `[R, rowsIn]` */
  readonly input: string;
  /** `[R, rowsOut]` */
  readonly upstream: string;
  readonly rowsIn: number;
  readonly rowsOut: number;
}

function encodeParameterGradients(
  graph: GraphBuilder,
  layer: DenseChainLayer & { kind: "dense" },
  operands: DenseOperands,
  { grainRows, grains }: GradientShape,
): void {
  const { input, upstream, rowsIn, rowsOut } = operands;
  const inputs = input === "features" ? featuresOfGrains(graph, grainRows, rowsIn, grains) : splitGrains(graph, input, grains, grainRows);
  const upstreams = splitGrains(graph, upstream, grains, grainRows);

  // A product of one column or row takes another path, and a long one is added up in blocks; both would round in another order than product first, sum then.
  const sumsInProduct = rowsIn >= 2 && rowsOut >= 2 && grainRows <= productBlock;
  // A product is fastest when its long side lies in columns, by a factor of two for few classes. Only the network's shape decides, so bits stay the same.
  const turned = rowsOut * 4 <= rowsIn;
  const product = (grain: number, addend: string | undefined, output: string | undefined): string => {
    const [left, right] = turned ? [upstreams, inputs] : [inputs, upstreams];
    const operands = [left[grain] ?? "", right[grain] ?? "", ...(addend === undefined ? [] : [addend])];
    return graph.node("Gemm", operands, { transA: { int: 1 } }, output);
  };
  const sum = (from: number, count: number, output: string | undefined): string => {
    if (count === 1) return product(from, undefined, output);
    if (count === 2 && sumsInProduct) return product(from + 1, product(from, undefined, undefined), output);
    return graph.node("Add", [sum(from, count / 2, undefined), sum(from + count / 2, count / 2, undefined)], {}, output);
  };
  const kernel = gradientOutput(`${layer.name}/kernel`);
  if (turned) graph.node("Transpose", [sum(0, grains, undefined)], { perm: { ints: [1, 0] } }, kernel);
  else sum(0, grains, kernel);
  graph.output(kernel, "float32", [rowsIn, rowsOut]);

  if (!layer.bias) return;
  const bias = gradientOutput(`${layer.name}/bias`);
  const byGrain = graph.node("Reshape", [upstream, graph.integers([grains, grainRows, rowsOut])]);
  graph.node("MatMul", [graph.floats("row_of_ones", [1, grainRows], new Float32Array(grainRows).fill(1)), byGrain], {}, bias);
  graph.output(bias, "float32", [grains, 1, rowsOut]);
}

function featuresOfGrains(graph: GraphBuilder, grainRows: number, features: number, grains: number): string[] {
  return Array.from({ length: grains }, (_, grain) => graph.input(grainInput(grain), "float32", [grainRows, features]));
}

function splitGrains(graph: GraphBuilder, value: string, grains: number, grainRows: number): string[] {
  if (grains === 1) return [value];
  const parts = Array.from({ length: grains }, (_, grain) => `${value}/${grain}`);
  graph.nodeWithOutputs("Split", [value, graph.integers(parts.map(() => grainRows))], parts, { axis: { int: 0 } });
  return parts;
}
