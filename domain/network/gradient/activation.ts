import type { LayerRule, OfKind } from "./rule.js";

/** y = max(x, 0), element by element; dx = dy where y > 0, else 0. */
export const relu = activation("relu", "reluGradient");

/** y = min(max(x, 0), 6), element by element; dx = dy where 0 < y < 6, else 0. */
export const relu6 = activation("relu6", "relu6Gradient");

/** y = 1 / (1 + exp(-x)), element by element; dx = dy x y x (1 - y). */
export const sigmoid = activation("sigmoid", "sigmoidGradient");

/** y[c] = exp(x[c]) / sum over k of exp(x[k]), over the channels of each place; dx[c] = (dy[c] - sum over k of dy[k] x y[k]) x y[c]. */
export const softmax = activation("softmax", "softmaxGradient");

/** The gradient of each can be told from what it gave: x need not be kept. */
function activation<Kind extends "relu" | "relu6" | "sigmoid" | "softmax">(
  kind: Kind,
  gradient: `${Kind}Gradient`,
): LayerRule<OfKind<Kind>> {
  return (_layer, [x], build) => {
    const y = build.output({ kind }, [x]);
    return { output: y, backward: (dy) => ({ inputs: [build.activation({ kind: gradient }, [dy, y])] }) };
  };
}
