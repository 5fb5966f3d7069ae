import { strict as assert } from "node:assert";
import type { Layer } from "../../../domain/network/network.js";
import { runBatchNorm } from "./batch-norm.js";
import type { Kernels, Value } from "./kernels.js";
import { float32, type LayerContext, type LayerRun } from "./layer-run.js";
import { runConvolution, runDense } from "./convolutions.js";
import { reshaped, runAveragePool, runGlobalAveragePool, runMaxPool, runZeroPad } from "./pooling.js";

/** Runs one layer on `inputs`, each `[rows, ...shape]`; see domain/network/network.ts for what each kind means. */
export function runLayer(layer: Layer, inputs: readonly Value[], context: LayerContext): LayerRun {
  const [input] = inputs;
  assert(input !== undefined);
  const { kernels } = context;
  switch (layer.kind) {
    case "conv2d":
    case "depthwiseConv2d":
      return runConvolution(layer, input, context);
    case "batchNorm":
      return runBatchNorm(layer, input, context);
    case "maxPool":
      return runMaxPool(layer, input, context);
    case "averagePool":
      return runAveragePool(layer, input, context);
    case "globalAveragePool":
      return runGlobalAveragePool(input, context);
    case "zeroPad":
      return runZeroPad(layer, input, context);
    case "dense":
      return runDense(layer, input, context);
    case "relu":
      return activation(kernels.one("Relu", float32, [input]), (output, gradient) => kernels.one("ReluGrad", float32, [gradient, output]));
    case "relu6":
      return activation(kernels.one("Relu6", float32, [input]), (output, gradient) =>
        kernels.one("Relu6Grad", float32, [gradient, output]),
      );
    case "sigmoid":
      return activation(byRow("Sigmoid", input, kernels), (output, gradient) => kernels.one("SigmoidGrad", float32, [output, gradient]));
    case "softmax":
      return activation(byRow("Softmax", input, kernels), (output, gradient) => softmaxGradient(kernels, output, gradient));
    case "add":
      return runAdd(inputs, kernels);
    case "concat":
      return runConcat(inputs, kernels);
    case "flatten": {
      const { shape } = input;
      const rows = shape[0] ?? 0;
      return simple(reshaped(kernels, input, [rows, shape.slice(1).reduce((product, length) => product * length, 1)]), (gradient) => [
        reshaped(kernels, gradient, shape),
      ]);
    }
    case "dropout": {
      const { mask } = context;
      if (mask === undefined) return simple(kernels.hold(input), (gradient) => [kernels.hold(gradient)]);
      return simple(kernels.one("Mul", float32, [input, mask]), (gradient) => [kernels.one("Mul", float32, [gradient, mask])]);
    }
  }
}

/** A layer without weights whose gradient needs nothing but that of its output. */
function simple(output: Value, gradients: (gradient: Value) => readonly Value[]): LayerRun {
  return { output, temporary: [], saved: [], backward: (gradient, wanted) => ({ inputs: wanted ? gradients(gradient) : [], weights: {} }) };
}

/** The gradient of an activation can be told from its output. */
function activation(output: Value, gradientOf: (output: Value, gradient: Value) => Value): LayerRun {
  return { ...simple(output, (gradient) => [gradientOf(output, gradient)]), saved: [output] };
}

/**
 * Runs a kernel on each row alone. Over all rows at once it takes the exponentials of several values together and those of the last few one by one, which gives other bits: a row's would
 * depend on its place.
 */
function byRow(kernel: string, input: Value, kernels: Kernels): Value {
  const rows = input.shape[0] ?? 0;
  if (rows === 1) return kernels.one(kernel, float32, [input]);
  const axis = kernels.integers([0], []);
  const results = kernels
    .run("Split", { ...float32, num_split: rows }, [axis, input], rows)
    .map((row) => kernels.one(kernel, float32, [row], [row]));
  return kernels.one("ConcatV2", { ...float32, Tidx: { type: "int32" }, N: rows }, [...results, axis], [...results, axis]);
}

/** (gradient - sum over channels of gradient x output) x output */
function softmaxGradient(kernels: Kernels, output: Value, gradient: Value): Value {
  const weighted = kernels.one("Mul", float32, [gradient, output]);
  const axis = kernels.integers([-1]);
  const sum = kernels.one("Sum", { ...float32, Tidx: { type: "int32" }, keep_dims: true }, [weighted, axis], [weighted, axis]);
  const rest = kernels.one("Sub", float32, [gradient, sum], [sum]);
  return kernels.one("Mul", float32, [rest, output], [rest]);
}

function runAdd(inputs: readonly Value[], kernels: Kernels): LayerRun {
  const [first, ...others] = inputs;
  assert(first !== undefined);
  const sum = others.reduce((left, right) => kernels.one("AddV2", float32, [left, right], [left]), kernels.hold(first));
  return simple(sum, (gradient) => inputs.map(() => kernels.hold(gradient)));
}

function runConcat(inputs: readonly Value[], kernels: Kernels): LayerRun {
  const last = (inputs[0]?.shape.length ?? 0) - 1;
  const along = kernels.integers([last], []);
  const output = kernels.one("ConcatV2", { ...float32, Tidx: { type: "int32" }, N: inputs.length }, [...inputs, along], [along]);
  return simple(output, (gradient) => {
    const sizes = kernels.integers(inputs.map(({ shape }) => shape[last] ?? 0));
    const dimension = kernels.integers([last], []);
    const attributes = { ...float32, Tlen: { type: "int32" }, num_split: inputs.length } as const;
    const parts = kernels.run("SplitV", attributes, [gradient, sizes, dimension], inputs.length);
    kernels.release(sizes);
    kernels.release(dimension);
    return parts;
  });
}
