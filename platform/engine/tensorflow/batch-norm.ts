import { strict as assert } from "node:assert";
import type { LayerKind } from "../../../domain/network/network.js";
import type { Value } from "./kernels.js";
import { float32, type LayerContext, type LayerRun } from "./layer-run.js";
import { biasGradient } from "./convolutions.js";
import { reshaped } from "./pooling.js";

/**
 * `(x - mean) / sqrt(variance + epsilon) x gamma + beta` over the innermost axis, with the moving statistics or, where `batchStatistics` is given, with those of the rows.
 * The kernels take pictures: a vector is a picture of one place.
 */
export function runBatchNorm(
  layer: Extract<LayerKind, { readonly kind: "batchNorm" }>,
  input: Value,
  { kernels, weight, batchStatistics, onGpu }: LayerContext,
): LayerRun {
  const channels = input.shape.at(-1) ?? 0;
  const asPicture = (value: Value): Value =>
    value.shape.length === 4 ? kernels.hold(value) : reshaped(kernels, value, [input.shape[0] ?? 0, 1, 1, channels]);
  const asInput = (value: Value): Value => (input.shape.length === 4 ? value : reshaped(kernels, value, input.shape, [value]));
  const constant = (value: number): Value => kernels.upload(new Float32Array(channels).fill(value), [channels]);

  const isTraining = batchStatistics !== undefined;
  const [gamma, beta] = [layer.scale ? weight("gamma") : constant(1), layer.center ? weight("beta") : constant(0)];
  const constants = [...(layer.scale ? [] : [gamma]), ...(layer.center ? [] : [beta])];
  const [movingMean, movingVariance] = [weight("moving_mean"), weight("moving_variance")];
  const empty = kernels.upload(new Float32Array(0), [0]);
  const attributes = {
    ...float32,
    U: { type: "float32" },
    data_format: "NHWC",
    epsilon: { float: layer.epsilon },
    is_training: isTraining,
  } as const;
  const picture = asPicture(input);
  const [normalised, mean, variance, ...reserves] = kernels.run(
    "FusedBatchNormV3",
    { ...attributes, exponential_avg_factor: { float: 1 } },
    isTraining ? [picture, gamma, beta, empty, empty] : [picture, gamma, beta, movingMean, movingVariance],
    6,
  );
  const [reserve1, reserve2, reserve3] = reserves;
  assert(normalised && mean && variance && reserve1 && reserve2 && reserve3);
  batchStatistics?.(mean, variance);
  return {
    output: asInput(normalised),
    temporary: [...constants, picture, empty, mean, variance, ...reserves],
    saved: [...constants, picture, ...(isTraining ? reserves : [])],
    backward(gradient, wanted) {
      const ofPicture = asPicture(gradient);
      const inputs = [picture, gamma, ofPicture] as const;
      const gradients = isTraining
        ? fusedGradient([...inputs, reserve1, reserve2, reserve3])
        : onGpu
          ? frozenGradient(...inputs)
          : fusedGradient([...inputs, movingMean, movingVariance, movingVariance]);
      kernels.release(ofPicture);
      const weights = { ...(layer.scale && { gamma: gradients.gamma }), ...(layer.center && { beta: gradients.beta }) };
      if (!layer.scale) kernels.release(gradients.gamma);
      if (!layer.center) kernels.release(gradients.beta);
      if (wanted) return { inputs: [asInput(gradients.input)], weights };
      kernels.release(gradients.input);
      return { inputs: [], weights };
    },
  };

  function fusedGradient([x, scale, gradient, ...statistics]: readonly Value[]): Gradients {
    assert(x && scale && gradient);
    const outputs = kernels.run("FusedBatchNormGradV3", attributes, [gradient, x, scale, ...statistics], 5);
    const [ofInput, ofGamma, ofBeta, ...unused] = outputs;
    assert(ofInput && ofGamma && ofBeta);
    for (const value of unused) kernels.release(value);
    return { input: ofInput, gamma: ofGamma, beta: ofBeta };
  }

  /** d input = d x gamma / s, d gamma = sum of d x (x - mean) / s, d beta = sum of d, with s = sqrt(moving variance + epsilon). */
  function frozenGradient(x: Value, scale: Value, gradient: Value): Gradients {
    const epsilon = kernels.upload(Float32Array.of(layer.epsilon), []);
    const spread = kernels.one("AddV2", float32, [movingVariance, epsilon], [epsilon]);
    const inverse = kernels.one("Rsqrt", float32, [spread], [spread]);
    const centred = kernels.one("Sub", float32, [x, movingMean]);
    const product = kernels.one("Mul", float32, [gradient, centred], [centred]);
    const sum = biasGradient(kernels, product);
    const factor = kernels.one("Mul", float32, [scale, inverse]);
    kernels.release(product);
    return {
      input: kernels.one("Mul", float32, [gradient, factor], [factor]),
      gamma: kernels.one("Mul", float32, [sum, inverse], [sum, inverse]),
      beta: biasGradient(kernels, gradient),
    };
  }
}

interface Gradients {
  readonly input: Value;
  readonly gamma: Value;
  readonly beta: Value;
}
