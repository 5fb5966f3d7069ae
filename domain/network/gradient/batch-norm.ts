import { channelsOf, type LayerBuilder } from "./builder.js";
import type { Value } from "./program.js";
import type { LayerPass, LayerRule, Moments, OfKind } from "./rule.js";

/**
 * With the moving statistics, where no layer before it can take it in (see folded-batch-norm.ts). x, y `[…, C]`, all else `[C]`; gamma is 1 and beta 0 where absent:
 *
 *   inv = 1 / sqrt(variance + epsilon)     s = gamma x inv
 *   y = (x - mean) x s + beta              computed as x x s + (beta - mean x s)
 *   dx = dy x s     dgamma = inv x sum of dy x (x - mean)     dbeta = sum of dy
 */
export const batchNormFrozen: LayerRule<OfKind<"batchNorm">> = (layer, [x], build) => {
  const mean = build.statistic("moving_mean");
  const { inverse, scale, output } = normalise(layer, x, mean, build.statistic("moving_variance"), build);
  return {
    output,
    backward: (dy) => ({
      inputs: [build.activation({ kind: "scaleChannels" }, [dy, scale])],
      parameters: {
        ...(layer.scale && { gamma: build.product(centredDot(dy, x, mean, build), inverse) }),
        ...(layer.center && { beta: build.sumOverRows(dy) }),
      },
    }),
  };
};

/**
 * With mean and biased variance of the batch, as a layer of its own; see `ofBatch`. dx = s x u.
 *
 * dx is 0 in rows that do not count: nothing that counts depends on them.
 */
export const batchNormOfBatch: LayerRule<OfKind<"batchNorm">> = (layer, [x], build) => {
  const { output, moments, backward } = ofBatch(layer, x, build);
  return {
    output,
    moments,
    backward: (dy) => {
      const { u, scale, parameters } = backward(dy);
      return { inputs: [build.activation({ kind: "scaleChannels" }, [u, scale])], parameters };
    },
  };
};

export interface BatchPass {
  readonly output: Value;
  readonly moments: Moments;
  readonly backward: (dy: Value) => BatchGradients;
}

export interface BatchGradients {
  /** The gradient of x, still to be multiplied by `scale`, channel by channel. */
  readonly u: Value;
  /** `[C]`, s */
  readonly scale: Value;
  readonly parameters: Readonly<Record<string, Value>>;
}

/**
 * With n the number of rows that count x places, z = (x - mean) x inv, and the other letters as above:
 *
 *   mean = sum of x / n     variance = sum of (x - mean)^2 / n     y = z x gamma + beta
 *   dgamma = sum of dy x z = inv x sum of dy x (x - mean)          dbeta = sum of dy
 *   dx = s x u     u = dy - dbeta / n - z x dgamma / n
 *                    = dy + x x q + r     with q = -inv x dgamma / n and r = -dbeta / n - q x mean
 */
export function ofBatch(layer: OfKind<"batchNorm">, x: Value, build: LayerBuilder): BatchPass {
  const places = x.shape.slice(0, -1).reduce((product, length) => product * length, 1);
  const meanOfSum = (sum: Value): Value => build.tensor({ kind: "meanOfSum", places }, [sum]);
  const mean = meanOfSum(build.sumOverRows(x));
  const variance = build.tensor({ kind: "varianceOverRows" }, [x, mean], mean.shape);
  const { inverse, scale, output } = normalise(layer, x, mean, variance, build);
  return {
    output,
    moments: { mean, variance },
    backward: (dy) => {
      const dbeta = build.sumOverRows(dy);
      const dgamma = build.product(centredDot(dy, x, mean, build), inverse);
      const minusQ = build.product(inverse, meanOfSum(dgamma));
      const r = build.difference(build.product(minusQ, mean), meanOfSum(dbeta));
      const u = build.activation({ kind: "addScaled" }, [dy, x, build.negative(minusQ), r]);
      return {
        u: build.activation({ kind: "countedRows" }, [u]),
        scale,
        parameters: { ...(layer.scale && { gamma: dgamma }), ...(layer.center && { beta: dbeta }) },
      };
    },
  };
}

/** inv, s and y of the formulas above. */
function normalise(
  layer: OfKind<"batchNorm">,
  x: Value,
  mean: Value,
  variance: Value,
  build: LayerBuilder,
): Pick<LayerPass, "output"> & { readonly inverse: Value; readonly scale: Value } {
  const inverse = build.tensor({ kind: "inverseRoot", epsilon: layer.epsilon }, [variance]);
  const scale = layer.scale ? build.product(build.parameter("gamma"), inverse) : inverse;
  const meanScaled = build.product(mean, scale);
  const offset = layer.center ? build.difference(build.parameter("beta"), meanScaled) : build.negative(meanScaled);
  return { inverse, scale, output: build.output({ kind: "scaleChannels" }, [x, scale, offset]) };
}

/** The sum of dy x (x - mean). */
function centredDot(dy: Value, x: Value, mean: Value, build: LayerBuilder): Value {
  return build.tensor({ kind: "dotOverRows" }, [dy, x, mean], [channelsOf(x)]);
}
